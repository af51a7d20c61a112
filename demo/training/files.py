"""The files of a training folder: each appears under its name only when it is whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

PARTIAL = ".partial"


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A path to write a file or folder to, which takes the name `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + PARTIAL)
    yield partial
    if path.is_dir():  # a folder can only be replaced by a rename when it is empty
        shutil.rmtree(path)
    partial.replace(path)


def remove_partial(folder: Path) -> None:
    """Remove what an interrupted training was still writing."""
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, readable by `torch.load(path, weights_only=True)`."""
    with written_whole(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> dict[str, Any]:
    """What `save` wrote."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state
