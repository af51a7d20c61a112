"""Number of torch's and numpy's threads, their wait policy, and a lock for threads that may be cancelled."""

import functools
import math
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from musicgen_service import cgroups

WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Read by OpenMP when torch is loaded. By default its threads spin while they wait for one another, so where
another process shares a core every operation waits for the scheduler: a step took 50 times as long."""

NUMPY_THREADS = "OPENBLAS_NUM_THREADS"
"""Read when numpy is loaded. Its products are small here, and its threads spin while they wait: with two of them a clip
was heard no faster at rest, and five times slower beside other programs."""

_POLL_INTERVAL = 0.05
"""Seconds after which a thread that waits for a lock looks whether it was cancelled."""
_SMALL_WIDTH = 512
"""Maximum width of transformers that run on one thread: the demo's is smaller, all released ones are wider."""


def set_wait_policy() -> None:
    """Make OpenMP's threads sleep while waiting, unless the environment sets a policy; call before importing torch."""
    if not any(os.environ.get(name) for name in WAIT_POLICY):
        os.environ.update(WAIT_POLICY)


def limit_numpy() -> None:
    """Give numpy's products one thread, unless the environment sets a number; call before importing numpy."""
    # On other processors torch reads the variable, too.
    if platform.machine() in ("x86_64", "AMD64"):
        os.environ.setdefault(NUMPY_THREADS, "1")


def for_width(width: int) -> int:
    """Number of threads for a network whose transformer has this width.

    In a small network threads wait for each other after every operation, longer than they work; on a busy machine more
    than a hundred times longer.
    """
    return 1 if width <= _SMALL_WIDTH else limit()


@functools.cache
def limit() -> int:
    """Number of threads for torch: its default, which follows the affinity mask, limited by the cgroup's CPU quota.

    torch has a number for each thread, which a new thread takes from whichever was set last, so it is asked only once.
    A number set by `OMP_NUM_THREADS` is kept.
    """
    import torch  # not above: `set_wait_policy` comes first

    chosen = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ:
        return chosen
    return math.ceil(min(cgroups.cpu_quota(), chosen))


def use(number: int) -> None:
    """Let torch use this many threads for what the calling thread computes from now on."""
    import torch  # not above: `set_wait_policy` comes first

    # Asked for first: otherwise a new thread takes, at its first product, the number that another has set meanwhile.
    # Products of floats in other numbers of threads differ in their last bits.
    torch.get_num_threads()
    torch.set_num_threads(number)


@contextmanager
def using(number: int) -> Iterator[None]:
    """Let torch use this many threads for what the calling thread computes in the block."""
    import torch  # not above: `set_wait_policy` comes first

    before = torch.get_num_threads()
    use(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def is_alive(thread: threading.Thread) -> bool:
    """Whether a thread has not ended; for threads that may be cancelled while they ask.

    `Thread.is_alive` of Python 3.11 marks the other thread as ended if an exception is raised in the middle of it.
    """
    return thread in threading.enumerate()


class CancellableLock:
    """A lock whose waiting threads notice within a moment that an exception was raised in them.

    An exception that another thread raises in one, as a cancelled request has it, comes between any two bytecodes: also
    before a lock is released. So a lock whose owner has ended is free, and what guards its state is no Condition, whose
    own functions are in Python and can be left with it held.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._owner: threading.Thread | None = None
        self._freed: SimpleQueue[None] = SimpleQueue()
        """Wakes one waiting thread."""

    def __enter__(self) -> None:
        me = threading.current_thread()
        try:
            while True:
                with self._guard:
                    if self._owner is None or not is_alive(self._owner):
                        self._owner = me
                        return
                with suppress(Empty):
                    self._freed.get(timeout=_POLL_INTERVAL)
        except BaseException:
            if self._owner is me:
                self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._owner = None
            if self._freed.empty():
                self._freed.put(None)
