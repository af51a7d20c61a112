"""How threads share a phase."""

from musicgen_service.engine.step_kernel.arithmetic import compiled
from musicgen_service.engine.step_kernel.instructions import give_way, pause, read_shared

_PATIENCE = 200
"""Looks at a phase that is not done before a thread lets others have its core."""


@compiled
def wait(counters, chunks):
    """Wait until all chunks of a phase are done; its two counters are at that address."""
    looks = 0
    while read_shared(counters + 8) < chunks:
        looks += 1
        if looks < _PATIENCE:
            pause()
        else:
            give_way()
