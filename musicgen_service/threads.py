"""How many threads torch works with, and how they wait for one another."""

import math
import os

from musicgen_service import cgroups

WAIT_POLICY = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"}
"""What OpenMP reads when torch is loaded. By default its threads spin while they wait for one another, so where
another process shares a core every operation waits for the scheduler: a step took 50 times as long."""


def set_wait_policy() -> None:
    """Let OpenMP's threads sleep while they wait, unless the environment says otherwise; call it before torch loads."""
    if not any(os.environ.get(name) for name in WAIT_POLICY):
        os.environ.update(WAIT_POLICY)


def limit() -> int:
    """Threads for torch: its own choice, which follows the affinity mask, as far as the cgroup's quota gives time.

    A number that was chosen by `OMP_NUM_THREADS` is kept.
    """
    import torch  # not above: `set_wait_policy` comes first

    chosen = torch.get_num_threads()
    if "OMP_NUM_THREADS" in os.environ:
        return chosen
    return math.ceil(min(cgroups.cpu_quota(), chosen))
