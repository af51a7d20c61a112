"""How much memory slots may take."""

from typing import Protocol

import torch

_CPU_BYTES = 6 * 2**30
"""Memory for slots on a CPU, where none is set: eight slots of `small` for 30 s, or two of `large`."""
_GPU_SHARE = 0.5
"""Share of a GPU's free memory for slots, where none is set."""


class SlotMemory(Protocol):
    """The memory that the slots of one model share with everything else that is loaded."""

    def reserve(self, slot_bytes: int, slots: int) -> int:
        """Reserve memory for up to `slots` slots; returns their number, which is at least 1."""
        ...

    def release(self) -> None:
        """Give the reserved memory back."""
        ...


class UnsharedSlotMemory:
    """Memory for the slots of a model that is alone on its device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def reserve(self, slot_bytes: int, slots: int) -> int:
        """See `SlotMemory.reserve`."""
        free: float = _CPU_BYTES
        if self._device.type == "cuda":
            # What torch keeps for later counts as taken for the driver, but not for us.
            kept = torch.cuda.memory_reserved(self._device) - torch.cuda.memory_allocated(self._device)
            free = _GPU_SHARE * (torch.cuda.mem_get_info(self._device)[0] + kept)
        return max(1, min(slots, int(free // slot_bytes)))

    def release(self) -> None:
        """See `SlotMemory.release`."""
