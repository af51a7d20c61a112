"""Sharing of a device by the loops of several models, and by a host that runs ahead of it."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_MAX_IN_FLIGHT = 8
"""Steps that a GPU may lag behind the host; a limit keeps progress accurate and cancellation prompt."""


class _FairLock:
    """A lock that is given to those who wait for it in the order in which they came.

    With Python's own lock, a thread that releases it and at once asks for it again nearly always gets it.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._next_ticket = 0
        self._served = 0

    def __enter__(self) -> None:
        with self._changed:
            ticket = self._next_ticket
            self._next_ticket += 1
            self._changed.wait_for(lambda: self._served == ticket)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._served += 1
            self._changed.notify_all()


_LOCKS: defaultdict[torch.device, _FairLock] = defaultdict(_FairLock)


@contextmanager
def turn(device: torch.device) -> Iterator[None]:
    """Have the device alone for the duration of the block; the loops of several models take turns."""
    with _LOCKS[device]:
        yield


class InFlightLimit:
    """Limits how many steps the host may run ahead of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._enabled = device.type == "cuda"
        self._events: list[torch.cuda.Event] = []

    def wait(self) -> None:
        """Record the end of a step and wait for the one `_MAX_IN_FLIGHT` steps ago."""
        if not self._enabled:
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._events.append(event)
        if len(self._events) > _MAX_IN_FLIGHT:
            self._events.pop(0).synchronize()
