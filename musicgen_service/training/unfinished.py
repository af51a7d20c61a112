"""The folder of a training until it ends: held by one process, begun anew, and removed."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from musicgen_service.training.errors import TrainingError
from musicgen_service.training.files import atomic

_STATE = "training.json"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the folder of a training for the block; it need not exist.

    Raises
    ------
    TrainingError
        When another process holds it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, which is removed while it is held.
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise TrainingError(f"'{folder.name}' is being trained already: wait, or choose another name.") from None
    try:
        yield
    finally:
        lock.release()


def begin(folder: Path, state: dict[str, Any], *, restart: bool) -> None:
    """Make the folder of a training, or go on with it.

    Parameters
    ----------
    state : what determines the result, in JSON types
    restart : whether what is there is removed

    Raises
    ------
    TrainingError
        When what is there has another state.
    """
    file = folder / _STATE
    if restart or not file.is_file():
        remove(folder)
        folder.mkdir()
        with atomic(file) as partial:
            partial.write_text(json.dumps(state))
    elif json.loads(file.read_text()) != state:
        raise TrainingError(
            f"An unfinished training of '{folder.name}' has other songs or options: give the same, "
            "or begin anew with --restart."
        )


def remove(folder: Path) -> None:
    """Remove the folder of a training, if there is one."""
    # Renamed first: no training goes on with what is removed in part.
    gone = folder.with_name(f".{folder.name}.removed")
    shutil.rmtree(gone, ignore_errors=True)  # of a process that was killed here
    if folder.is_dir():
        folder.rename(gone)
        shutil.rmtree(gone)
