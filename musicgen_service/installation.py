"""Where the files are that belong to the package and are no modules of it: predictors, weights, what to install.

In the repository they lie around the package, where Cog wants them. A wheel has them inside it (`force-include` in
pyproject.toml), so that it leaves no other name among a user's packages.
"""

import re
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
_INSIDE = _PACKAGE / "_project"

_IS_WHEEL = _INSIDE.is_dir()

PROJECT = _INSIDE if _IS_WHEEL else _PACKAGE.parent
"""The folder of `predict.py`, `compat/` and `weights/`."""
SHIPPED_WEIGHTS = _INSIDE / "weights" if _IS_WHEEL else None
"""Checkpoints that an installation brings beside its weights folder; the repository's are in its weights folder."""


def weights_folder() -> Path:
    """The weights folder where no setting names one: the project's; an installation's is the user's own."""
    if not _IS_WHEEL:
        return PROJECT / "weights"
    # Imported here: the repository has no use for it.
    from platformdirs import user_data_path

    return user_data_path("musicgen-service", appauthor=False) / "weights"


def audiocraft_requirement() -> str:
    """What to ask pip for, such as `audiocraft==1.3.0`."""
    text = (PROJECT / "requirements-audiocraft.txt").read_text()
    [requirement] = re.findall(r"^audiocraft==\S+", text, re.MULTILINE)
    return str(requirement)
