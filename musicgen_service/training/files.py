"""Files of a training that are whole or absent, whenever it is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` that takes its place when the block ends without an error."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values."""
    with atomic(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
