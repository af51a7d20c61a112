"""Tensors of a checkpoint's files, by name, and how they get into a network."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

_NAMED = 3
"""Names of tensors that an error lists at most."""


def read_package(file: Path) -> dict[str, Any]:
    """What an audiocraft checkpoint holds; its tensors lie in the mapped file.

    Raises
    ------
    TypeError
        When the file holds something else.
    """
    package = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    if not isinstance(package, dict):
        raise TypeError(f"{file.name} holds no checkpoint")
    return package


def read_folder(folder: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, torch.Tensor]:
    """The tensors of a folder in transformers' format whose names begin with one of `prefixes`.

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
    """Copy a state dict into a module, which keeps its own precision and device, and is not trained.

    A copy, because the file that a tensor lies in may be replaced while the service runs.

    Raises
    ------
    RuntimeError
        When names or shapes are not those of the module.
    """
    own = module.state_dict()
    wrong = [name for name in state.keys() | own.keys() if not _fits(state.get(name), own.get(name))]
    _refuse(wrong)
    for name, tensor in state.items():
        own[name].copy_(tensor)
    module.eval().requires_grad_(False)


class Taker:
    """Gives the tensors of a state dict one by one, as copies on a device.

    Parameters
    ----------
    stored : the state dict
    device : of the copies
    """

    def __init__(self, stored: Mapping[str, torch.Tensor], device: torch.device) -> None:
        self._left = dict(stored)
        self._device = device

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        """See `musicgen_service.engine.weights.Take`."""
        tensor = self._left.pop(name, None)
        if tensor is None or tensor.shape != shape:
            _refuse([name])
        assert tensor is not None
        return tensor.to(self._device, copy=True)

    def close(self) -> None:
        """Raise RuntimeError when a tensor was not taken."""
        _refuse(list(self._left))


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise RuntimeError(f"its tensors are not those of its configuration: {', '.join(sorted(wrong)[:_NAMED])} ...")


def _fits(stored: torch.Tensor | None, own: torch.Tensor | None) -> bool:
    return stored is not None and own is not None and stored.shape == own.shape
