"""Entries of the cache of loaded models, and what threads want of it."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.threads import is_alive


@dataclass
class Entry:
    """A cache entry.

    Attributes
    ----------
    value : the loaded model
    size : its size in bytes
    depends_on : name of the model that `value` refers to, and therefore keeps in memory
    users : threads that use it
    """

    value: Any
    size: int
    depends_on: str | None = None
    users: list[threading.Thread] = field(default_factory=list)

    @property
    def is_in_use(self) -> bool:
        """Whether a thread uses it; one that was cancelled may have ended without saying so."""
        return any(map(is_alive, self.users))


@dataclass(frozen=True)
class Wanted:
    """What a thread wants to use.

    Attributes
    ----------
    name : by which it is kept
    load : loads it, in use by a thread; receives the checkpoint that it depends on, which is wanted before it
    """

    name: str
    load: Callable[[MusicGenModel | None, threading.Thread], Entry]
