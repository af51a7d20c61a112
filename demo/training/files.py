"""Atomic writing of the files in a training folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

PARTIAL = ".partial"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a file or folder, which is renamed to `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    yield partial
    if path.is_dir():  # a folder can only be replaced by a rename when it is empty
        shutil.rmtree(path)
    partial.replace(path)


def remove_partial(folder: Path) -> None:
    """Remove files and folders that an interrupted training left unfinished."""
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, readable by `torch.load(path, weights_only=True)`."""
    with atomic_write(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> dict[str, Any]:
    """Read a file written by `save`."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
