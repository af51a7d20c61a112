"""State dicts: reading them from checkpoint files, and loading them into networks."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

Adapt = Callable[[str, torch.Tensor], torch.Tensor]
"""Returns a tensor of a checkpoint, by name, as it is or, in a copy, with what adapters add to it."""

_allowing = threading.Lock()
_MAX_LISTED = 3
"""Maximum number of tensor names in an error."""


def read_package(file: Path) -> dict[str, Any]:
    """Read an audiocraft checkpoint; its tensors are memory-mapped.

    Raises
    ------
    TypeError
        When the file is not a checkpoint.
    """
    package = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(package, dict):
        raise TypeError(f"{file.name} holds no checkpoint")
    return package


def rename(
    stored: Mapping[str, torch.Tensor], renames: Iterable[tuple[re.Pattern[str], str]]
) -> dict[str, torch.Tensor]:
    """Replace every match of each pattern in the names of a state dict, in the order of the patterns."""
    renamed = {}
    for name, tensor in stored.items():
        for pattern, replacement in renames:
            name = pattern.sub(replacement, name)
        renamed[name] = tensor
    return renamed


def read_pickle(file: Path, allowed: list[Any]) -> Any:
    """Read a file of tensors and of objects of the `allowed` classes, and of no others."""
    # torch's list of allowed classes is process-wide, so two threads must not change it at the same time.
    with _allowing, torch.serialization.safe_globals(allowed):
        return torch.load(file, map_location="cpu", weights_only=True)


def read_folder(folder: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, torch.Tensor]:
    """Read the tensors of a folder in transformers' format whose names begin with one of `prefixes`.

    Raises
    ------
    OSError
        When the folder has neither `model.safetensors` nor `pytorch_model.bin`.
    """
    path = folder / "model.safetensors"
    if path.is_file():
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys() if name.startswith(prefixes)}  # noqa: SIM118
    package = read_package(folder / "pytorch_model.bin")
    return {name: tensor for name, tensor in package.items() if name.startswith(prefixes)}


def fill(module: torch.nn.Module, state: Mapping[str, torch.Tensor]) -> None:
    """Copy a state dict into a module, which keeps its own precision and device and is set to evaluation mode.

    The tensors are copied because the file that they are mapped from may be replaced while the service runs.

    Raises
    ------
    RuntimeError
        When names or shapes do not match those of the module.
    """
    own = module.state_dict()
    _raise_mismatch([name for name in state.keys() | own.keys() if not _matches(state.get(name), own.get(name))])
    for name, tensor in state.items():
        own[name].copy_(tensor)
    module.eval().requires_grad_(False)


class TensorTaker:
    """The `TakeTensor` of a state dict: takes its tensors one by one, as copies on a device.

    Parameters
    ----------
    stored : the state dict
    device : of the copies
    """

    def __init__(self, stored: Mapping[str, torch.Tensor], device: torch.device) -> None:
        self._remaining = dict(stored)
        self._device = device

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        """See `musicgen_service.engine.weights.TakeTensor`."""
        tensor = self._remaining.pop(name, None)
        if tensor is None or tensor.shape != shape:
            _raise_mismatch([name])
        assert tensor is not None
        return tensor.to(self._device, copy=True)

    def close(self) -> None:
        """Raise RuntimeError when a tensor was not taken."""
        _raise_mismatch(list(self._remaining))


def _raise_mismatch(names: list[str]) -> None:
    if names:
        listed = ", ".join(sorted(names)[:_MAX_LISTED])
        raise RuntimeError(f"its tensors are not those of its configuration: {listed} ...")


def _matches(stored: torch.Tensor | None, own: torch.Tensor | None) -> bool:
    return stored is not None and own is not None and stored.shape == own.shape
