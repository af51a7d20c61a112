"""torch's global random generator, for other people's code that draws from nothing else."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()


@contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """The global generators of the CPU and of `device`, for this thread alone; afterwards they are as they were."""
    with _LOCK, torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
