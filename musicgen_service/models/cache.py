"""Cache of loaded models: keeps the most recently used ones that fit a memory budget."""

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
from musicgen_service.models.music_model import MusicModel
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.progress import log

GB = 10**9
_MODEL_SHARE = 0.8
"""Share of the free memory that models may take; the rest is for computation."""

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""glibc's function; other C libraries do not have it."""

_T = TypeVar("_T")


@dataclass
class _Entry:
    """A cache entry.

    Attributes
    ----------
    value : the loaded model
    size : its size in bytes
    depends_on : name of the model that `value` refers to, and therefore keeps in memory
    """

    value: Any
    size: int
    depends_on: str | None


class ModelTooLarge(WeightsError):
    """The model does not fit the memory budget."""


class ModelCache:
    """Loads models on demand and evicts the least recently used ones when memory runs short.

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
        """Names of the loaded models, least recently used first."""
        return list(self._loaded)

    def newest(self) -> MusicModel | None:
        """Return the most recently used model, or None when none is loaded."""
        models = [entry.value for entry in self._loaded.values() if not isinstance(entry.value, Diffusion)]
        return models[-1] if models else None

    def get(self, name: str) -> MusicModel:
        """Return the model of that name, loading it if necessary.

        Raises
        ------
        ModelTooLarge
            When it would not fit even alone.
        WeightsError
            When it has to be loaded and its weights are missing or damaged.
        """
        if name in self._loaded:
            return self._use(name)
        files = self._store.checkpoint(name)
        needed = loading.memory_needed(files, self._device)
        return self._admit(name, needed, lambda: loading.load_model(files, self._device))

    def diffusion(self, name: str) -> Diffusion:
        """Return MultiBand Diffusion for the model of that name; raises as `get` does."""
        model = self.get(name)
        assert isinstance(model, MusicGenModel), "the request was checked to have a model of the released codec"
        key = f"{DIFFUSION} for {name}"
        if key in self._loaded:
            return self._use(key)
        folder = self._store.component(DIFFUSION)
        needed = sum(file.stat().st_size for file in folder.iterdir())
        return self._admit(key, needed, lambda: Diffusion(model, folder), depends_on=name)

    def clear(self) -> None:
        """Evict everything, after the device ran out of memory."""
        self._loaded.clear()
        _release_memory()

    def _use(self, key: str) -> Any:
        """Return the entry of `key` and mark it as the most recently used."""
        self._loaded.move_to_end(key)
        return self._loaded[key].value

    def _admit(self, key: str, needed: int, load: Callable[[], _T], depends_on: str | None = None) -> _T:
        """Evict models until `needed` bytes are free, then load and store the result of `load`."""
        dependency = self._loaded[depends_on].size if depends_on else 0
        if needed + dependency > self._budget:
            raise ModelTooLarge(
                f"'{key}' needs about {(needed + dependency) / GB:.1f} GB and models may take "
                f"{self._budget / GB:.1f} GB here (MUSICGEN_MEMORY_GB): use a smaller model."
            )
        while sum(entry.size for entry in self._loaded.values()) + needed > self._budget:
            # The model that it depends on was used just now, so it is evicted last.
            log(f"dropped '{self._evict_oldest()}' to make room for '{key}'")
        value = load()
        self._loaded[key] = _Entry(value, needed, depends_on)
        return value

    def _evict_oldest(self) -> str:
        """Evict the least recently used model and those that depend on it; return its name."""
        evicted, _ = self._loaded.popitem(last=False)
        for key in [key for key, entry in self._loaded.items() if entry.depends_on == evicted]:
            del self._loaded[key]
        _release_memory()
        return evicted


def memory_budget(device: torch.device) -> int:
    """Return `MUSICGEN_MEMORY_GB` in bytes, or by default most of the free memory of the device."""
    setting = settings.load().memory_gb
    if setting is not None:
        return int(setting * GB)
    if device.type == "cuda":
        free: float = torch.cuda.mem_get_info()[0]
    else:
        free = min(psutil.virtual_memory().available, cgroups.free_memory())
    return int(free * _MODEL_SHARE)


def _release_memory() -> None:
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
