"""The processes that train together, one for each GPU, as `accelerate launch` or `torchrun` start them.

Each computes the gradients of its share of a step's clips; their sum is that of all, so that a training has the same
steps on any number of GPUs. The main process listens, encodes, writes and reports, and the others read what it wrote.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch

_T = TypeVar("_T")
_PATIENCE = timedelta(days=1)
"""How long the others wait while the main process encodes songs."""


class Processes:
    """This process and those beside it.

    Parameters
    ----------
    accelerator : of `accelerate`; None where this process trains alone
    """

    def __init__(self, accelerator: Any = None) -> None:
        self._accelerator = accelerator

    @classmethod
    def started(cls) -> "Processes":
        """The processes that were started together; this one alone where it was started by itself."""
        if not (torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()):
            return cls()
        from accelerate import Accelerator
        from accelerate.utils import InitProcessGroupKwargs

        patience = InitProcessGroupKwargs(timeout=_PATIENCE)
        return cls(Accelerator(cpu=not torch.cuda.is_available(), kwargs_handlers=[patience]))

    @property
    def device(self) -> torch.device:
        """Of this process."""
        if self._accelerator is None:
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        device: torch.device = self._accelerator.device
        return torch.device("cpu") if device.type == "cpu" else device  # without an index

    @property
    def is_main(self) -> bool:
        """Whether this one writes and reports."""
        return self._accelerator is None or bool(self._accelerator.is_main_process)

    def share(self, items: Sequence[_T]) -> Sequence[_T]:
        """This process's items of those of all."""
        if self._accelerator is None:
            return items
        return items[self._accelerator.process_index :: self._accelerator.num_processes]

    def total(self, value: float) -> float:
        """The sum of a value over all processes."""
        if self._accelerator is None:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        return float(self._accelerator.reduce(tensor, reduction="sum"))

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Give every parameter the sum of its gradients over all processes."""
        if self._accelerator is None:
            return
        own = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
        added = self._accelerator.reduce(torch.cat([gradient.flatten() for gradient in own]), reduction="sum")
        for parameter, gradient in zip(parameters, added.split([each.numel() for each in parameters]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def from_main(self, value: _T | None) -> _T:
        """The value that the main process has; those of the others are not looked at."""
        values = [value]
        if self._accelerator is not None:
            from accelerate.utils import broadcast_object_list

            broadcast_object_list(values)
        assert values[0] is not None, "the main process has one"
        return values[0]

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the others begin the block when the main process has ended it."""
        if self._accelerator is None:
            yield
        else:
            with self._accelerator.main_process_first():
                yield


ALONE = Processes()
