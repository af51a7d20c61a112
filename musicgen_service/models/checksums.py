"""Checksums of files of weights, which are read again only where they have changed.

What was read is kept in the user's cache folder, so that not every process reads gigabytes before it loads them. A file
counts as the same while its size, both of its times, its inode and its device are: nobody can set the time of its last
change. `WeightStore.verify` reads all files whatever is kept.
"""

import json
import os
import threading
import time
from pathlib import Path
from typing import NamedTuple

from musicgen_service import installation
from musicgen_service.models import manifest

_LEAST_SIZE = 2**20
"""Bytes from which on a checksum is kept on disk: smaller files are read as fast."""
_SETTLED = 2 * 10**9
"""Nanoseconds after a change from which on another one gives a file another time, on every file system."""


class _Read(NamedTuple):
    """What a file was as it was read, and its SHA-256 in hexadecimal."""

    size: int
    modified: int
    changed: int
    inode: int
    device: int
    sha256: str


class Checksums:
    """The SHA-256 of files; of those read before, by this process or an earlier one, as it was found then."""

    def __init__(self) -> None:
        self._known: dict[str, _Read] = {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file, in hexadecimal; raises OSError when it cannot be read."""
        stat, name, now = path.stat(), str(path.absolute()), time.time_ns()
        state = (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)
        is_large = stat.st_size >= _LEAST_SIZE
        known = self._known.get(name)
        if is_large and (known is None or known[:-1] != state):
            known = _kept().get(name)
        if known is None or known[:-1] != state:
            known = _Read(*state, manifest.sha256(path))
            if is_large and max(known.modified, known.changed) + _SETTLED < now:
                _keep(name, known)
        self._known[name] = known
        return known.sha256


def _file() -> Path:
    """Where checksums are kept."""
    return installation.cache_folder() / "checksums.json"


def _kept() -> dict[str, _Read]:
    try:
        return {name: _Read(*read) for name, read in json.loads(_file().read_bytes()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # nothing is kept yet, or it is damaged: files are read


def _keep(name: str, read: _Read) -> None:
    """Keep the checksum of a file on disk, without those of files that are gone; or not, where that cannot be."""
    # Not Path's, which raises an error for a folder that this user cannot look into.
    present = {other: kept for other, kept in _kept().items() if os.path.exists(other)}  # noqa: PTH110
    try:
        file = _file()
        file.parent.mkdir(parents=True, exist_ok=True)
        # Several threads and processes may keep something at the same time; what one of them loses is read once more.
        partial = file.with_suffix(f".{os.getpid()}.{threading.get_ident()}.partial")
        partial.write_text(json.dumps(present | {name: read}))
        partial.replace(file)
    except OSError:
        pass
