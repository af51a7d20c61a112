"""The thread of a step loop, which keeps nothing of the loop in memory while it is idle."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import torch

from musicgen_service.engine.handle import Handle


class Loop(Protocol):
    """What the thread runs."""

    def run_until_idle(self) -> None:
        """Work until nothing is left to do."""
        ...


class Inbox:
    """Passes sequences to the loop's thread; an idle thread refers to nothing else, so it keeps no model in memory."""

    def __init__(self) -> None:
        self.waiting: deque[Handle] = deque()
        self.is_closed = False
        self.changed = threading.Condition()
        self.thread: threading.Thread | None = None

    def put(self, handles: Iterable[Handle], loop: Callable[[], Loop | None]) -> None:
        """Queue sequences behind those that wait already, and start the thread if there is none yet.

        Parameters
        ----------
        loop : a weak reference to the loop
        """
        with self.changed:
            if self.is_closed:
                raise RuntimeError("the engine has ended")
            if self.thread is None:
                self.thread = threading.Thread(target=_run, args=(self, loop), name="step loop", daemon=True)
                self.thread.start()
            self.waiting.extend(handles)
            self.changed.notify_all()

    def wait(self) -> bool:
        """Wait until there is something to do; false once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.waiting or self.is_closed)
            return not self.is_closed

    def close(self) -> None:
        """End the thread after its present turn, and wait until it has ended."""
        with self.changed:
            self.is_closed = True
            self.changed.notify_all()
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()


def _run(inbox: Inbox, reference: Callable[[], Loop | None]) -> None:
    """Run a loop whenever it has something to do, until it has ended."""
    torch.set_num_threads(1)  # of this thread; see `linear.PackedLinear`
    while inbox.wait():
        loop = reference()
        if loop is None:
            return
        loop.run_until_idle()
        del loop
