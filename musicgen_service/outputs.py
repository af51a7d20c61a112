"""Where finished clips wait for the server to deliver them."""

import os
import shutil
import tempfile
from pathlib import Path

import psutil

_ROOT = "musicgen-service"


class Outputs:
    """A folder for each request of this process; only the newest one is kept.

    The server reads a request's files after the request has returned, so they are removed when the
    next request begins and not before.
    """

    def __init__(self) -> None:
        root = Path(tempfile.gettempdir()) / _ROOT
        self._own = root / str(os.getpid())
        for folder in root.glob("*"):
            if folder == self._own or not psutil.pid_exists(int(folder.name) if folder.name.isdigit() else -1):
                shutil.rmtree(folder, ignore_errors=True)

    def new_folder(self) -> Path:
        """An empty folder for a request; those of earlier requests are removed."""
        self.clear()
        self._own.mkdir(parents=True)
        return Path(tempfile.mkdtemp(prefix="request-", dir=self._own))

    def clear(self) -> None:
        """Remove all files of this process."""
        shutil.rmtree(self._own, ignore_errors=True)
