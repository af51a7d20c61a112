"""Exclusive access to torch's global random generators, for third-party code that can use no other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOCK = threading.Lock()


@contextmanager
def exclusive(device: torch.device) -> Iterator[None]:
    """Lock the global generators of the CPU and of `device` for this thread, and restore their state afterwards."""
    with _LOCK, torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
