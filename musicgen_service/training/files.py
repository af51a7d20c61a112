"""Files of a training that are whole or absent, whenever it is killed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` that takes its place when the block ends without an error."""
    # Of this process alone: several that train together may write the same file.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def cached(path: Path, compute: Callable[[], dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Read tensors that were computed before; compute and keep them where they were not, or are damaged."""
    try:
        if path.is_file():
            return load_file(path)
    except (SafetensorError, OSError):
        pass
    tensors = compute()
    with atomic(path) as partial:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial)
    return tensors


def save(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values."""
    with atomic(path) as partial:
        torch.save(state, partial)


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
