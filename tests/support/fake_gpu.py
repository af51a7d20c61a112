"""A GPU without data: tensors on it have shapes, types and a device, and mixing devices or reading them fails."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

GPU = torch.device("cuda", 0)


@contextmanager
def fake_gpu() -> Iterator[None]:
    """Give all tensors that are made inside no data, and let them be on a GPU.

    Raises inside, as a GPU would, when an operation mixes devices; and where a GPU would wait, when data are read.
    """
    # Inference mode asks the driver for the device of everything that is written to.
    with (
        patch.object(torch.inference_mode, "__enter__", lambda _mode: None),
        patch.object(torch.inference_mode, "__exit__", lambda *_exception: None),
        torch._C._AutoDispatchBelowADInplaceOrView(),
        FakeTensorMode(),
        _WithoutDriver(),
    ):
        yield


class Launches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations that launch kernels: all that neither are views nor allocate only.

    Attributes
    ----------
    counts : by name
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        schema = func._schema
        is_view = any(out.alias_info is not None and not out.alias_info.is_write for out in schema.returns)
        if not is_view and not schema.name.startswith(("aten::empty", "aten::new_empty")):
            self.counts[schema.name] += 1
        return func(*args, **kwargs or {})


class _WithoutDriver(TorchFunctionMode):
    """Does by operators what torch otherwise asks the driver for, and fails where there is none."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return _REPLACED.get(func, func)(*args, **kwargs or {})


def _get(tensor: torch.Tensor, index: Any) -> torch.Tensor:
    view, indices = _view(tensor, index)
    return torch.ops.aten.index.Tensor(view, indices) if indices else view


def _set(tensor: torch.Tensor, index: Any, value: Any) -> None:
    view, indices = _view(tensor, index)
    if indices:
        torch.ops.aten.index_put_.default(view, indices, value)
    elif isinstance(value, torch.Tensor):
        if value.device.type == GPU.type != view.device.type:
            raise RuntimeError("it would wait for the GPU to copy from it")
        torch.ops.aten.copy_.default(view, value)
    else:
        view.fill_(value)


def _view(tensor: torch.Tensor, index: Any) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Return the view of a tensor by all that is no tensor in an index, and the tensors by dimension."""
    index = index if isinstance(index, tuple) else (index,)
    if any(part is Ellipsis for part in index):
        at = next(place for place, part in enumerate(index) if part is Ellipsis)
        taken = sum(part is not None for part in index) - 1
        index = (*index[:at], *[slice(None)] * (tensor.dim() - taken), *index[at + 1 :])
    indices: list[torch.Tensor | None] = []
    for part in index:
        dim = len(indices)
        if isinstance(part, int):
            tensor = tensor.select(dim, part)
            continue
        if part is None:
            tensor = tensor.unsqueeze(dim)
        elif isinstance(part, slice):
            tensor = torch.ops.aten.slice.Tensor(tensor, dim, part.start, part.stop, part.step or 1)
        indices.append(part if isinstance(part, torch.Tensor) else None)
    return tensor, indices if any(part is not None for part in indices) else []


def _to(tensor: torch.Tensor, target: torch.device | str | torch.dtype | torch.Tensor) -> torch.Tensor:
    if isinstance(target, torch.Tensor):
        target = target.device
    dtype = target if isinstance(target, torch.dtype) else tensor.dtype
    device = tensor.device if isinstance(target, torch.dtype) else torch.device(target)
    if (dtype, device.type) == (tensor.dtype, tensor.device.type):
        return tensor
    return torch.ops.aten._to_copy.default(tensor, dtype=dtype, device=device)


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_contiguous():
        return tensor
    return torch.ops.aten.clone.default(tensor, memory_format=torch.contiguous_format)


def _exponential(tensor: torch.Tensor, rate: float, generator: torch.Generator) -> torch.Tensor:
    return torch.ops.aten.exponential_.default(tensor, rate)


_REPLACED: dict[Any, Callable[..., Any]] = {
    torch.Tensor.__getitem__: _get,
    torch.Tensor.__setitem__: _set,
    torch.Tensor.contiguous: _contiguous,
    torch.Tensor.__invert__: torch.ops.aten.bitwise_not.default,
    torch.Tensor.copy_: torch.ops.aten.copy_.default,
    torch.Tensor.exponential_: _exponential,
    torch.Tensor.to: _to,
}
