"""Exclusive access to torch's global random generators, for third-party code that can use no other."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from musicgen_service.threads import CancellableLock

_LOCK = CancellableLock()


@contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """Lock the global generators of the CPU and of `device` for this thread, and restore their state afterwards."""
    with _LOCK, torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
