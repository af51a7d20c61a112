"""Cache of loaded models: keeps the most recently used ones that fit a memory budget."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TypeVar

import torch

from musicgen_service.models import loading
from musicgen_service.models.adapters import AppliedAdapter
from musicgen_service.models.cache_entries import Entry, Wanted
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.diffusion import Diffusion
from musicgen_service.models.memory import GB, INPUTS, InputMemory, MemoryBudget, ModelSlotMemory, release_memory
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.progress import log
from musicgen_service.threads import CancellableLock, is_alive

_RETRY_INTERVAL = 0.1
"""Seconds between two attempts to load a model for which the models in use leave no room."""

_T = TypeVar("_T")


class ModelTooLarge(WeightsError):
    """The model does not fit the memory budget."""


class _NoRoom(Exception):
    """Models in use leave no room at the moment."""


class ModelCache:
    """Loads models on demand and evicts the least recently used ones when memory runs short.

    A model in use is not evicted. Any number of threads may use the cache; one checkpoint is loaded at a time.

    Parameters
    ----------
    store : where checkpoints come from
    device : where models live
    budget : bytes that all loaded models may take, together with the slots of their engines and, on a CPU, with the
        decoded recordings of requests
    """

    def __init__(self, store: WeightStore, device: torch.device, budget: int) -> None:
        self._store = store
        self._device = device
        self._budget = MemoryBudget(budget)
        self._inputs = InputMemory(self._budget)
        self._loaded: OrderedDict[str, Entry] = OrderedDict()
        self._lock = CancellableLock()
        """Held to change what is loaded; never while loading."""
        self._loading, self._loading_part = CancellableLock(), CancellableLock()
        self._queue = CancellableLock()
        """Held by a thread that uses nothing yet, until it has all that it wants."""
        self._waiting: list[threading.Thread] = []
        """Threads that wait for room."""

    def names(self) -> list[str]:
        """Names of everything that is loaded, least recently used first."""
        return list(self._loaded)

    @property
    def memory(self) -> MemoryBudget:
        """What everything that is loaded takes."""
        return self._budget

    def checkpoints(self) -> list[MusicGenModel]:
        """The loaded checkpoints, least recently used first."""
        values = [entry.value for entry in list(self._loaded.values())]
        return [value for value in values if isinstance(value, MusicGenModel)]

    @contextmanager
    def lease(self, name: str, adapters: Sequence[AppliedAdapter] = ()) -> Iterator[MusicGenModel]:
        """Yield a checkpoint, loaded if necessary, which stays in memory for the block.

        Where models in use leave no room, it waits for them, and those that come later wait behind it.

        Parameters
        ----------
        adapters : of this checkpoint, which are added to a copy of its weights

        Raises
        ------
        ModelTooLarge
            When it would not fit even alone.
        WeightsError
            When it has to be loaded and its weights, or an adapter, are missing or damaged.
        """
        with self._leased(*self._wanted(name, adapters)) as models:
            yield models[-1]

    @contextmanager
    def lease_with_diffusion(
        self, name: str, adapters: Sequence[AppliedAdapter] = ()
    ) -> Iterator[tuple[MusicGenModel, Diffusion]]:
        """Yield a checkpoint and MultiBand Diffusion for it; waits and raises as `lease` does."""
        wanted = self._wanted(name, adapters)
        with self._leased(*wanted, Wanted(f"{DIFFUSION} for {name}", self._load_diffusion)) as models:
            yield models[-2], models[-1]

    @contextmanager
    def lease_part(self, name: str, size: int, load: Callable[[], _T]) -> Iterator[_T]:
        """Yield another model, loaded by `load` if necessary, to a thread that has leased a checkpoint.

        It does not wait for room, because two threads might wait for each other; such models are small.

        Parameters
        ----------
        name : by which it is kept
        size : in bytes
        """
        user = threading.current_thread()
        entry = self._use_loaded(name, user)
        if entry is None:
            with self._loading_part:
                entry = self._use_loaded(name, user)
                if entry is None:
                    with suppress(_NoRoom):
                        self._make_room(name, size)
                    entry = self._add(name, size, load, user)
        try:
            yield entry.value
        finally:
            entry.users.remove(user)

    @contextmanager
    def hold_inputs(self, size: int) -> Iterator[None]:
        """Count recordings of `size` bytes for the block, to a thread that has leased a checkpoint.

        They are in memory already, so it does not wait: models that are not in use make room for them.
        """
        if self._device.type != "cpu" or not size:
            yield
            return
        with self._inputs.hold(size):
            with suppress(_NoRoom):
                self._make_room(INPUTS, 0)
            yield

    def clear(self) -> None:
        """Evict everything that is not in use, after the device ran out of memory."""
        while self._evict_oldest() is not None:
            pass

    @contextmanager
    def _leased(self, *wanted: Wanted) -> Iterator[list[Any]]:
        user = threading.current_thread()
        # Others may wait for what a thread uses already, so it waits behind none of them.
        is_user = self._uses_any(user)
        is_first = is_user or not any(map(is_alive, list(self._waiting)))
        entries = self._use_all(wanted, user, may_load=False) if is_first else None
        if entries is None:
            with nullcontext() if is_user else self._queue:
                entries = self._wait_for_all(wanted, user)
        try:
            yield [entry.value for entry in entries]
        finally:
            for entry in entries:
                entry.users.remove(user)

    def _wait_for_all(self, wanted: Sequence[Wanted], user: threading.Thread) -> list[Entry]:
        """Do what `_use_all` does, and load what is missing once there is room for it."""
        try:
            while True:
                with self._loading:
                    entries = self._use_all(wanted, user, may_load=True)
                if entries is not None:
                    return entries
                if user not in self._waiting:
                    self._waiting.append(user)
                self._require_others(wanted[0].name, user)
                time.sleep(_RETRY_INTERVAL)
        finally:
            with suppress(ValueError):
                self._waiting.remove(user)

    def _uses_any(self, user: threading.Thread) -> bool:
        """Whether a thread uses anything that is loaded."""
        with self._lock:
            return any(user in entry.users for entry in self._loaded.values())

    def _use_all(self, wanted: Sequence[Wanted], user: threading.Thread, *, may_load: bool) -> list[Entry] | None:
        """Use a checkpoint and what depends on it; None when not all of them are loaded, or can be at the moment."""
        entries: list[Entry] = []
        try:
            for one in wanted:
                entry = self._use_loaded(one.name, user)
                if entry is None and may_load:
                    entry = one.load(entries[0].value if entries else None, user)
                if entry is None:
                    raise _NoRoom
                entries.append(entry)
        except BaseException as error:
            for entry in entries:
                entry.users.remove(user)
            if isinstance(error, _NoRoom):
                return None
            raise
        return entries

    def _use_loaded(self, name: str, user: threading.Thread) -> Entry | None:
        """Mark an entry as in use, and as the most recently used; None when it is not loaded."""
        with self._lock:
            entry = self._loaded.get(name)
            if entry is not None:
                self._loaded.move_to_end(name)
                entry.users.append(user)
            return entry

    def _wanted(self, name: str, adapters: Sequence[AppliedAdapter]) -> list[Wanted]:
        """The checkpoint and, with adapters, the copy of it that has them."""
        wanted = [Wanted(name, lambda _, user: self._load(name, user))]
        if adapters:
            label = " + ".join([name, *(applied.label for applied in adapters)])
            wanted.append(Wanted(label, partial(self._load_adapted, adapters, label)))
        return wanted

    def _load(self, name: str, user: threading.Thread) -> Entry:
        files = self._store.checkpoint(name)
        needed = loading.memory_needed(files, self._device)
        self._require_fit(name, needed)
        self._make_room(name, needed)
        slots = ModelSlotMemory(self._budget, name)
        return self._add(name, needed, lambda: loading.load_model(files, self._device, slots), user)

    def _load_adapted(
        self, adapters: Sequence[AppliedAdapter], label: str, base: MusicGenModel | None, user: threading.Thread
    ) -> Entry:
        assert base is not None
        files = self._store.checkpoint(base.name)
        needed = loading.adapted_memory(base, files, adapters)
        self._require_fit(label, needed + self._loaded[base.name].size)
        self._make_room(label, needed)
        slots = ModelSlotMemory(self._budget, label)
        load = partial(loading.load_adapted, base, files, adapters, label, slots)
        return self._add(label, needed, load, user, depends_on=base.name)

    def _load_diffusion(self, checkpoint: MusicGenModel | None, user: threading.Thread) -> Entry:
        assert checkpoint is not None
        name = f"{DIFFUSION} for {checkpoint.name}"
        folder = self._store.component(DIFFUSION)
        needed = sum(file.stat().st_size for file in folder.iterdir())
        self._require_fit(name, needed + self._loaded[checkpoint.name].size)
        self._make_room(name, needed)
        return self._add(name, needed, lambda: Diffusion(checkpoint, folder), user, depends_on=checkpoint.name)

    def _require_fit(self, name: str, needed: int) -> None:
        if needed > self._budget.total:
            raise ModelTooLarge(
                f"'{name}' needs about {needed / GB:.1f} GB and models may take "
                f"{self._budget.total / GB:.1f} GB here (MUSICGEN_MEMORY_GB): use a smaller model."
            )

    def _require_others(self, name: str, user: threading.Thread) -> None:
        """Raise ModelTooLarge where a thread that is streaming would wait for nobody but itself and others like it."""
        with self._lock:
            held = {other: entry for other, entry in self._loaded.items() if entry.is_in_use}
            users = {one for entry in held.values() for one in entry.users if is_alive(one)}
            if user not in users or not users.issubset(self._waiting):
                return
            self._waiting.remove(user)  # the others wait on: they have its models once it has ended its stream
        names = ", ".join(f"'{other}'" for other in held)
        raise ModelTooLarge(f"'{name}' has no room beside {names}, which is streaming: end the stream first.")

    def _make_room(self, name: str, needed: int) -> None:
        """Evict models until `needed` bytes are free; raises _NoRoom when too many are in use."""
        while self._budget.free < needed:
            evicted = self._evict_oldest()
            if evicted is None:
                raise _NoRoom
            log(f"dropped '{evicted}' to make room for '{name}'")

    def _add(
        self, name: str, size: int, load: Callable[[], Any], user: threading.Thread, depends_on: str | None = None
    ) -> Entry:
        """Load an entry, in use by a thread."""
        self._budget.take(name, size)
        try:
            entry = Entry(load(), size, depends_on, [user])
        except BaseException:
            self._budget.release(name)
            raise
        with self._lock:
            self._loaded[name] = entry
        return entry

    def _evict_oldest(self) -> str | None:
        """Evict the least recently used model and what depends on it; return its name, or None when all are in use."""
        with self._lock:
            for name in self._loaded:
                evicted = [key for key, entry in self._loaded.items() if name in (key, entry.depends_on)]
                if not any(self._loaded[key].is_in_use for key in evicted):
                    break
            else:
                return None
            for key in evicted:
                del self._loaded[key]
                self._budget.release(key)
                ModelSlotMemory(self._budget, key).release()
        release_memory()
        return name
