"""Folders in the temporary folder that are certainly ours: made by this process, marked, and removed by nobody else.

What lies in a shared temporary folder may be anybody's, whatever its name. A folder is removed only when it bears our
mark, belongs to our user, and the process that made it has ended.
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
_LEAST_ROOM, _LEAST_INODES = 65_536, 8
"""Bytes, and files and folders, that a request needs: fewer are none."""
_MOST = 1000
"""Bytes of a mark; a longer file is none."""

FULL = "The service has no room left to write files: try again later."
_NO_INODES = "The service's disk has no inodes left, so that it can hold no more files: try again later."
_GONE = "The service's temporary folder is gone: try again when it is back."
_CLOSED = "The service may not write to its temporary folder."


class OwnFolder:
    """A new folder that only this process uses, mode 0700. One that is empty goes with the process.

    Its mark has the process's id and start time, and the folder's inode, which a copy does not share. The process
    holds a lock on it: another container, which sees other processes, can tell by it that the folder is in use.

    Parameters
    ----------
    prefix : of its name

    Raises
    ------
    OSError
        When the temporary folder is gone, full or may not be written.
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
        """Whether it is still there: somebody may have cleared the temporary folder."""
        return (self.path / MARK).is_file()

    def remove(self) -> None:
        """Remove it with all that is in it."""
        self._finalizer.detach()
        shutil.rmtree(self.path, ignore_errors=True)
        self._mark.close()


def problem(folder: Path | None = None) -> str | None:
    """Why nothing can be written in a folder (the temporary folder) now, as a sentence; None when something can."""
    folder = folder or Path(tempfile.gettempdir())
    try:
        if _has_no_inodes(os.statvfs(folder)):
            return _NO_INODES
        with tempfile.TemporaryDirectory(prefix="musicgen-room-", dir=folder) as attempt:
            (Path(attempt) / "attempt").write_bytes(bytes(_LEAST_ROOM))
    except OSError as error:
        return FULL if is_no_room(error) else _GONE if error.errno == errno.ENOENT else _CLOSED
    return None


def is_full(folder: Path) -> bool:
    """Whether a disk has no room for anything worth writing, or for no more files."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize < _LEAST_ROOM or _has_no_inodes(found)


def is_no_room(error: OSError) -> bool:
    """Whether an error of the system says that there is no room for a file."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _has_no_inodes(found: os.statvfs_result) -> bool:
    """Some file systems count no inodes."""
    return found.f_files > 0 and found.f_favail < _LEAST_INODES


def sweep(prefix: str) -> None:
    """Remove the folders of that prefix whose processes have ended; whatever is not certainly ours is left alone."""
    with suppress(OSError), _opened(Path(tempfile.gettempdir()).resolve()) as root:
        for name in _names(root):
            with suppress(OSError):
                if name.startswith(prefix) and _is_abandoned(root, name):
                    # By descriptor, so that no symbolic link is followed on the way.
                    shutil.rmtree(name, dir_fd=root)


def sweep_old(folder: Path, parts: set[str], before: float) -> None:
    """Remove the old sub-folders of `folder`, which another program makes, when nothing but its `parts` is in them.

    Parameters
    ----------
    folder : neither it nor the folder it is in may be a symbolic link or another user's
    parts : names of what the other program makes there
    before : in seconds since the epoch; what has changed since is left alone
    """
    with suppress(OSError), _own(folder.parent) as parent, _own(folder.name, parent) as root:
        for name in _names(root):
            with suppress(OSError), _own(name, root) as found:
                if os.fstat(found).st_mtime < before and parts.issuperset(_names(found)):
                    shutil.rmtree(name, dir_fd=root)


def _identity() -> dict[str, object]:
    process = psutil.Process()
    return {"pid": process.pid, "started": process.create_time()}


def _is_abandoned(root: int, name: str) -> bool:
    with _own(name, root) as folder:
        mark = os.open(MARK, _READ, dir_fd=folder)
        with os.fdopen(mark, "rb") as file:
            found = os.fstat(mark)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                return False
            try:
                said = json.loads(file.read(_MOST))
                pid, started, inode = int(said["pid"]), float(said["started"]), int(said["inode"])
            except (ValueError, KeyError, TypeError, RecursionError):
                return False
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return inode == os.fstat(folder).st_ino and not _runs(pid, started)


def _runs(pid: int, started: float) -> bool:
    try:
        return psutil.Process(pid).create_time() == started
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def _own(path: str | Path, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a folder; raises OSError when it is a link, no folder, or another user's."""
    with _opened(path, parent) as found:
        if os.fstat(found).st_uid != os.geteuid():
            raise PermissionError
        yield found


@contextmanager
def _opened(path: str | Path, parent: int | None = None) -> Iterator[int]:
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
