"""Addresses of Unix sockets."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAX_ADDRESS = 100
"""Maximum bytes of a socket's address; systems take a few more."""


@contextmanager
def address(path: Path) -> Iterator[str]:
    """Yield the address of a socket; the system takes short ones only, whatever the folder's path is."""
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
