"""Home folders in paths."""

import os
from contextlib import suppress
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """A path with a home folder in the place of `~` or `~user`; of an unknown user it stays as it is, as in shells."""
    given = Path(path)
    with suppress(RuntimeError):
        return given.expanduser()
    return given
