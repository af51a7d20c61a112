"""The thread of a step loop, which keeps nothing of the loop in memory while it is idle."""

import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Protocol

from musicgen_service import threads
from musicgen_service.engine.handle import Handle


class Loop(Protocol):
    """What the thread runs."""

    def run_until_idle(self) -> None:
        """Work until nothing is left to do."""
        ...


class Inbox:
    """Passes sequences to the loop's thread; an idle thread refers to nothing else, so it keeps no model in memory.

    A caller may be cancelled between any two bytecodes, so callers take no lock that others need: a queue in C is all
    that they share with the loop's thread.

    Attributes
    ----------
    waiting : the sequences that the loop's thread has taken out of the queue, in order; of that thread alone
    thread : the loop's thread, once it has started
    """

    def __init__(self) -> None:
        self.waiting: deque[Handle] = deque()
        self.is_closed = False
        self.thread: threading.Thread | None = None
        self._submitted: SimpleQueue[Handle | None] = SimpleQueue()
        self._running = threading.Lock()
        """Held by the loop's thread for as long as it lives."""

    @property
    def count(self) -> int:
        """Number of sequences that wait."""
        return len(self.waiting) + self._submitted.qsize()

    def put(self, handles: Iterable[Handle], loop: Callable[[], Loop | None]) -> None:
        """Queue sequences behind those that wait already, and start the thread where none is alive.

        Parameters
        ----------
        loop : a weak reference to the loop
        """
        if self.is_closed:
            raise RuntimeError("the engine has ended")
        for handle in handles:
            self._submitted.put(handle)
        if not self._running.locked():
            threading.Thread(target=self._run, args=(loop,), name="step loop", daemon=True).start()

    def take(self) -> None:
        """Move what was submitted to `waiting`; called by the loop's thread."""
        with suppress(Empty):
            while True:
                self._receive(self._submitted.get_nowait())

    def close(self) -> None:
        """End the thread after its present turn, and wait until it has ended."""
        self.is_closed = True
        self._submitted.put(None)
        if self.thread is not None and self.thread is not threading.current_thread():
            self.thread.join()

    def _receive(self, handle: Handle | None) -> None:
        if handle is not None:  # that of `close`, which only wakes the thread
            self.waiting.append(handle)

    def _wait(self) -> bool:
        """Wait until there is something to do; false once closed."""
        while not self.waiting and not self.is_closed:
            self._receive(self._submitted.get())
        return not self.is_closed

    def _run(self, reference: Callable[[], Loop | None]) -> None:
        """Run a loop whenever it has something to do, until it has ended."""
        if not self._running.acquire(blocking=False):
            return  # two callers came first at the same moment
        try:
            self.thread = threading.current_thread()
            threads.use(1)  # see `linear.PackedLinear`
            while self._wait():
                loop = reference()
                if loop is None:
                    return
                loop.run_until_idle()
                del loop
        finally:
            self._running.release()
