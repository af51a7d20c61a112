"""Temporary storage for finished clips until the server has delivered them."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from musicgen_service import folders

MAX_AGE = 600.0
"""Seconds after which the files of a finished request are removed."""
MAX_BYTES = 2 * 10**9
"""Maximum size of all finished requests together; beyond it the oldest are removed."""
DELIVERY_TIME = 60.0
"""Seconds for which files are kept regardless of size: the server reads them right after the request returns."""

PREFIX = "musicgen-outputs-"
COG_FOLDER = Path("/tmp/coglet/predictions")
"""Cog creates a folder for each prediction there, with `_COG_PARTS` in it, and never removes it."""
_COG_PARTS = {"inputs", "outputs"}
_COG_AGE = 24 * 3600.0


class _Finished(NamedTuple):
    """A request that has ended."""

    ended: float
    """When, on the monotonic clock."""
    size: int
    """Bytes of its files; whoever delivers them may have removed them since."""


class Outputs:
    """A folder for each request of this process, removed some time after the request has ended.

    The server reads a request's files after the request has returned and does not report when it is done.
    """

    def __init__(self) -> None:
        self._own: folders.OwnFolder | None = None
        self._finished: dict[Path, _Finished] = {}
        self._lock = threading.RLock()
        self._cleanup_thread: threading.Thread | None = None
        folders.sweep(PREFIX)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """Yield a folder for the files of one request; it is removed at once if the block fails."""
        self._remove_finished()
        with self._lock:
            # One for all threads: a second one would replace the first, which is removed when nothing refers to it.
            if self._own is None or not self._own.exists():
                self._own = folders.OwnFolder(PREFIX)
            folder = Path(tempfile.mkdtemp(prefix="request-", dir=self._own.path))
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._finished[folder] = _Finished(time.monotonic(), _size(folder))
        if self._cleanup_thread is None:
            self._cleanup_thread = threading.Thread(target=self._clean_up_regularly, name="outputs", daemon=True)
            self._cleanup_thread.start()

    def clean_up(self) -> None:
        """Remove what is old, also what Cog left behind.

        Not before each request: Cog may have left tens of thousands of folders in a day, and each is looked at.
        """
        self._remove_finished()
        folders.sweep_old(COG_FOLDER, _COG_PARTS, time.time() - _COG_AGE)

    def remove_all(self) -> None:
        """Remove the files of all requests; none may be running."""
        with self._lock:
            self._finished.clear()
            if self._own is not None:
                self._own.remove()
                self._own = None

    def _remove_finished(self) -> None:
        """Remove expired folders, then the oldest while the total size is over the limit."""
        now = time.monotonic()
        with self._lock:
            total = sum(finished.size for finished in self._finished.values())
            for folder, (ended, size) in sorted(self._finished.items(), key=lambda item: item[1].ended):
                age = now - ended
                if age > MAX_AGE or (age > DELIVERY_TIME and total > MAX_BYTES):
                    shutil.rmtree(folder, ignore_errors=True)
                    del self._finished[folder]
                    total -= size

    def _clean_up_regularly(self) -> None:
        while True:
            time.sleep(DELIVERY_TIME)
            self.clean_up()


def _size(folder: Path) -> int:
    """Bytes in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
