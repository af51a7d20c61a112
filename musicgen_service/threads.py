"""Number of torch's threads, and their wait policy."""

import functools
import math
import os

from musicgen_service import cgroups

WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""Read by OpenMP when torch is loaded. By default its threads spin while they wait for one another, so where
another process shares a core every operation waits for the scheduler: a step took 50 times as long."""

_SMALL_WIDTH = 512
"""Maximum width of transformers that run on one thread: the demo's is smaller, all released ones are wider."""


def set_wait_policy() -> None:
    """Make OpenMP's threads sleep while waiting, unless the environment sets a policy; call before importing torch."""
    if not any(os.environ.get(name) for name in WAIT_POLICY):
        os.environ.update(WAIT_POLICY)


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
