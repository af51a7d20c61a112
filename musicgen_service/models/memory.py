"""The memory budget that loaded models, the slots of their engines and the analysis models share."""

import ctypes
import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil
import torch

from musicgen_service import cgroups, settings
from musicgen_service.threads import CancellableLock, is_alive

GB = 10**9
_MODEL_SHARE = 0.8
"""Share of the free memory that models may take; the rest is for computation."""
_SLOT_SHARE = 0.8
"""Share of what is left of the budget that the slots of a model may take; the rest is for the next model."""

SLOTS_OF = "slots of "
"""Prefix to the name of a model in the name of the part that its slots are."""
INPUTS = "inputs"
"""The part that decoded recordings are."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's function; other C libraries do not have it."""


class MemoryBudget:
    """Counts what each part takes; may be used from any thread.

    Parameters
    ----------
    total : bytes that all parts together may take
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._taken: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def free(self) -> int:
        """Bytes that are left; negative when the parts take more than they may."""
        with self._lock:
            return self.total - sum(self._taken.values())

    @property
    def parts(self) -> dict[str, int]:
        """Bytes that each part takes."""
        with self._lock:
            return dict(self._taken)

    def take(self, part: str, size: int) -> None:
        """Count `size` bytes for a part, in place of what it took before."""
        with self._lock:
            self._taken[part] = size

    def release(self, part: str) -> None:
        """Count nothing for a part any more."""
        with self._lock:
            self._taken.pop(part, None)

    def take_slots(self, part: str, slot_bytes: int, slots: int) -> int:
        """Count up to `slots` slots for a part, as many as fit, and at least one; returns their number."""
        with self._lock:
            free = self.total - sum(size for name, size in self._taken.items() if name != part)
            count = max(1, min(slots, int(_SLOT_SHARE * free // slot_bytes)))
            self._taken[part] = count * slot_bytes
            return count


class ModelSlotMemory:
    """The `SlotMemory` of one model.

    Parameters
    ----------
    budget : shared with everything else that is loaded
    name : of the model
    """

    def __init__(self, budget: MemoryBudget, name: str) -> None:
        self._budget = budget
        self._part = SLOTS_OF + name

    def reserve(self, slot_bytes: int, slots: int) -> int:
        """See `SlotMemory.reserve`."""
        return self._budget.take_slots(self._part, slot_bytes, slots)

    def release(self) -> None:
        """See `SlotMemory.release`."""
        self._budget.release(self._part)


class InputMemory:
    """Counts the decoded recordings that requests hold.

    Parameters
    ----------
    budget : shared with everything that is loaded
    """

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self._held: list[_Recordings] = []
        self._lock = CancellableLock()

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count `size` bytes that a request of the calling thread holds, for the duration of the block."""
        recordings = _Recordings(threading.current_thread(), size)
        self._count([recordings])
        try:
            yield
        finally:
            recordings.size = 0
            self._count([])

    def _count(self, more: list["_Recordings"]) -> None:
        with self._lock:
            # A thread that was cancelled may have ended without saying so.
            self._held = [held for held in [*self._held, *more] if held.size and is_alive(held.user)]
            if self._held:
                self._budget.take(INPUTS, sum(held.size for held in self._held))
            else:
                self._budget.release(INPUTS)


@dataclass
class _Recordings:
    """What a request holds: the thread that carries it out, and bytes."""

    user: threading.Thread
    size: int


def default_budget(device: torch.device) -> int:
    """Return `MUSICGEN_MEMORY_GB` in bytes, or by default most of the free memory of the device."""
    setting = settings.load().memory_gb
    if setting is not None:
        return int(setting * GB)
    if device.type == "cuda":
        free: float = torch.cuda.mem_get_info()[0]
    else:
        free = min(psutil.virtual_memory().available, cgroups.free_memory())
    return int(free * _MODEL_SHARE)


def release_memory() -> None:
    """Release what nothing refers to any more, on the device and off it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim_heap()


def trim_heap() -> None:
    """Return free memory to the operating system.

    By default, glibc returns only memory at the very end of its heap. Requests of different shapes leave free blocks
    further down, and without trimming the process would grow with each of them.
    """
    if _trim is not None:
        _trim(0)
