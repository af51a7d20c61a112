"""Sums that several threads add to."""

import threading
from collections import defaultdict
from collections.abc import Hashable
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)


class Tally(Generic[_K]):
    """A sum for each key."""

    def __init__(self) -> None:
        self._sums: defaultdict[_K, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, key: _K, amount: float) -> None:
        """Add to the sum of a key."""
        with self._lock:
            self._sums[key] += amount

    def sums(self) -> dict[_K, float]:
        """The sum of each key that something was added to."""
        with self._lock:
            return dict(self._sums)
