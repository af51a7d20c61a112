"""Temporary folders owned by one process, and safe removal of those whose process has ended.

A shared temporary folder may contain folders of other users with any name. A folder is removed only when it contains
our marker file, belongs to our user, and the process that created it has ended.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

MARK = ".made-by-musicgen-service"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MIN_BYTES, _MIN_INODES = 65_536, 8
"""Free bytes and inodes below which a disk counts as full: the minimum that a request needs."""
_MAX_MARK_BYTES = 1000
"""Maximum bytes read of a marker file."""

FULL = "The service has no room left to write files: try again later."
_NO_INODES = "The service's disk has no inodes left, so that it can hold no more files: try again later."
_GONE = "The service's temporary folder is gone: try again when it is back."
_CLOSED = "The service may not write to its temporary folder."


class OwnFolder:
    """A new temporary folder for this process alone, mode 0700. An empty one is removed when the process exits.

    Its marker file contains the process's id and start time, and the folder's inode, which differs in a copy. The
    process holds a lock on it, which shows that the folder is in use even in a container with other process ids.

    Parameters
    ----------
    prefix : start of the folder's name

    Raises
    ------
    OSError
        When the temporary folder is missing, full or not writable.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        try:
            self._mark = (self.path / MARK).open("x")
            fcntl.flock(self._mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mark.write(json.dumps(_identity() | {"inode": self.path.stat().st_ino}))
            self._mark.flush()
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._finalizer = weakref.finalize(self, _remove_if_empty, self.path)

    def exists(self) -> bool:
        """Whether it still exists: the temporary folder may have been cleared."""
        return (self.path / MARK).is_file()

    def remove(self) -> None:
        """Remove it with its contents."""
        self._finalizer.detach()
        shutil.rmtree(self.path, ignore_errors=True)
        self._mark.close()


def problem(folder: Path | None = None) -> str | None:
    """Why a folder (default: the temporary folder) cannot be written to, as a sentence; None if it can."""
    folder = folder or Path(tempfile.gettempdir())
    try:
        if _has_no_inodes(os.statvfs(folder)):
            return _NO_INODES
        with tempfile.TemporaryDirectory(prefix="musicgen-room-", dir=folder) as attempt:
            (Path(attempt) / "attempt").write_bytes(bytes(_MIN_BYTES))
    except OSError as error:
        return FULL if is_out_of_space(error) else _GONE if error.errno == errno.ENOENT else _CLOSED
    return None


def is_full(folder: Path) -> bool:
    """Whether a disk has too little space or too few inodes for a request."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _MIN_BYTES or _has_no_inodes(found)


def is_out_of_space(error: OSError) -> bool:
    """Whether an OSError means that there is no space for a file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _has_no_inodes(found: os.statvfs_result) -> bool:
    """Whether too few inodes are free; some file systems report no counts."""
    return found.f_files > 0 and found.f_favail < _MIN_INODES


def sweep(prefix: str) -> None:
    """Remove the folders with a prefix whose processes have ended; anything not verifiably ours is kept."""
    with suppress(OSError), _open(Path(tempfile.gettempdir()).resolve()) as root:
        for name in _names(root):
            with suppress(OSError):
                if name.startswith(prefix) and _is_abandoned(root, name):
                    # Relative to a descriptor, so that no symbolic link is followed.
                    shutil.rmtree(name, dir_fd=root)


def sweep_old(folder: Path, parts: set[str], before: float) -> None:
    """Remove old sub-folders of `folder`, which another program creates, when they contain nothing but `parts`.

    Parameters
    ----------
    folder : neither it nor its parent may be a symbolic link or owned by another user
    parts : names of the entries that the other program creates there
    before : in seconds since the epoch; anything modified later is kept
    """
    with suppress(OSError), _open_own(folder.parent) as parent, _open_own(folder.name, parent) as root:
        for name in _names(root):
            with suppress(OSError), _open_own(name, root) as found:
                if os.fstat(found).st_mtime < before and parts.issuperset(_names(found)):
                    shutil.rmtree(name, dir_fd=root)


def _identity() -> dict[str, object]:
    process = psutil.Process()
    return {"pid": process.pid, "started": process.create_time()}


def _is_abandoned(root: int, name: str) -> bool:
    with _open_own(name, root) as folder:
        mark = os.open(MARK, _READ, dir_fd=folder)
        with os.fdopen(mark, "rb") as file:
            found = os.fstat(mark)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                return False
            try:
                fields = json.loads(file.read(_MAX_MARK_BYTES))
                pid, started, inode = int(fields["pid"]), float(fields["started"]), int(fields["inode"])
            except (ValueError, KeyError, TypeError, RecursionError):
                return False
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return inode == os.fstat(folder).st_ino and not _is_running(pid, started)


def _is_running(pid: int, started: float) -> bool:
    try:
        return psutil.Process(pid).create_time() == started
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def _open_own(path: str | Path, parent: int | None = None) -> Iterator[int]:
    """Open a folder; raises OSError when it is a link, not a folder, or owned by another user."""
    with _open(path, parent) as found:
        if os.fstat(found).st_uid != os.geteuid():
            raise PermissionError
        yield found


@contextmanager
def _open(path: str | Path, parent: int | None = None) -> Iterator[int]:
    found = os.open(path, _READ | os.O_DIRECTORY, dir_fd=parent)
    try:
        yield found
    finally:
        os.close(found)


def _remove_if_empty(path: Path) -> None:
    with suppress(OSError):
        for folder in path.iterdir():
            if folder.name != MARK:
                folder.rmdir()
        (path / MARK).unlink()
        path.rmdir()
