"""Which models stay loaded: the most recently used ones that fit the memory set aside for them."""

import ctypes
import gc
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
import torch

from musicgen_service import cgroups, settings
from musicgen_service.models import loading
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.diffusion import Diffusion
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.progress import log

GB = 10**9
_SHARE = 0.8
"""Of the free memory, what models may take; the rest is for the work itself."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's; other C libraries have none."""

_T = TypeVar("_T")


@dataclass
class _Entry:
    value: Any
    size: int
    beside: str | None
    """The model that `value` refers to, and would keep in memory."""


class ModelTooLarge(WeightsError):
    """The model does not fit the memory that models may take."""


class LoadedModels:
    """Loads models on demand and drops the least recently used ones when memory runs short.

    Parameters
    ----------
    store : where checkpoints come from
    device : where models live
    budget : bytes that all loaded models together may take
    """

    def __init__(self, store: WeightStore, device: torch.device, budget: int) -> None:
        self._store = store
        self._device = device
        self._budget = budget
        self._loaded: OrderedDict[str, _Entry] = OrderedDict()

    def names(self) -> list[str]:
        """What is loaded, least recently used first."""
        return list(self._loaded)

    def newest(self) -> MusicGenModel | None:
        """The model used last, or None when none is loaded."""
        models = [entry.value for entry in self._loaded.values() if isinstance(entry.value, MusicGenModel)]
        return models[-1] if models else None

    def get(self, name: str) -> MusicGenModel:
        """The model of that name, loaded if it is not.

        Raises
        ------
        ModelTooLarge
            When it would not fit even alone.
        WeightsError
            When its weights are missing or damaged.
        """
        self._store.require(name)
        needed = loading.memory_needed(name, self._store, self._device)
        return self._admit(name, needed, lambda: loading.load_model(name, self._store, self._device))

    def diffusion(self, name: str) -> Diffusion:
        """MultiBand Diffusion for the model of that name; raises as `get` does."""
        model = self.get(name)
        needed = sum(file.stat().st_size for file in self._store.require(DIFFUSION).iterdir())
        key = f"{DIFFUSION} for {name}"
        return self._admit(key, needed, lambda: Diffusion(model, self._store), beside=name)

    def clear(self) -> None:
        """Drop everything, after the device ran out of memory."""
        self._loaded.clear()
        _release()

    def _admit(self, key: str, needed: int, load: Callable[[], _T], beside: str | None = None) -> _T:
        """What is loaded under `key`, or what `load` gives once there is room for it (and for `beside`)."""
        if key not in self._loaded:
            kept = self._loaded[beside].size if beside else 0
            if needed + kept > self._budget:
                raise ModelTooLarge(
                    f"'{key}' needs about {(needed + kept) / GB:.1f} GB and models may take "
                    f"{self._budget / GB:.1f} GB here (MUSICGEN_MEMORY_GB): use a smaller model."
                )
            while sum(entry.size for entry in self._loaded.values()) + needed > self._budget:
                # `beside` was used just now, so it is last in line.
                log(f"dropped '{self._drop_oldest()}' to make room for '{key}'")
            self._loaded[key] = _Entry(load(), needed, beside)
        self._loaded.move_to_end(key)
        return self._loaded[key].value

    def _drop_oldest(self) -> str:
        dropped, _ = self._loaded.popitem(last=False)
        for key in [key for key, entry in self._loaded.items() if entry.beside == dropped]:
            del self._loaded[key]
        _release()
        return dropped


def budget_from_environment(device: torch.device) -> int:
    """`MUSICGEN_MEMORY_GB` in bytes, or most of what is free on the device."""
    setting = settings.load().memory_gb
    if setting is not None:
        return int(setting * GB)
    if device.type == "cuda":
        free: float = torch.cuda.mem_get_info()[0]
    else:
        free = min(psutil.virtual_memory().available, cgroups.free_memory())
    return int(free * _SHARE)


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    give_back()


def give_back() -> None:
    """Return memory that nobody uses to the operating system.

    Of the holes that a request leaves, glibc returns only what lies at the very end of its heap; the next request, of
    another shape, digs others.
    """
    if _trim is not None:
        _trim(0)
