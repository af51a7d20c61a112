"""The file of API keys: a name and the SHA-256 of its key in each line.

A key is 256 random bits, so nobody can find it by trying, and a slow hash, as passwords need, would protect nothing.
"""

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from musicgen_service.progress import log

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE = re.compile(rf"({_NAME.pattern})\s+([0-9a-f]{{64}})")
_MAX_BYTES = 2**20
_PREFIX = "mgs_"
"""The beginning of every key, by which scanners of leaked secrets know it."""
_HEADER = "# API keys of musicgen-service: a name and the SHA-256 of its key in each line.\n"
_CHECK_INTERVAL = 1.0
"""Seconds after which a change of the file is looked for."""


class KeysError(ValueError):
    """The file cannot be used, or not changed as asked; the message says why in one sentence."""


def read(file: Path) -> dict[str, str]:
    """The names in a file, each with the SHA-256 of its key in hexadecimal digits.

    Raises
    ------
    KeysError
        When the file cannot be read, or has a line that is neither a name and a hash, nor empty, nor a comment.
    """
    try:
        with file.open("rb") as content:
            text = content.read(_MAX_BYTES + 1).decode()
    except OSError as error:
        raise KeysError(f"The file of API keys {file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise KeysError(f"The file of API keys {file} is not text.") from None
    if len(text) > _MAX_BYTES:
        raise KeysError(f"The file of API keys {file} is larger than {_MAX_BYTES >> 20} MiB.")
    keys: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        found = _LINE.fullmatch(line.strip())
        if found is None or found[1] in keys:
            wrong = "has the name of an earlier line" if found else "is not a name and the SHA-256 of a key"
            raise KeysError(f"The file of API keys {file} is damaged: line {number} {wrong}.")
        keys[found[1]] = found[2]
    return keys


def add(file: Path, name: str) -> str:
    """Add a fresh key to a file, which is made if it is missing; returns the key, which is kept nowhere.

    Raises
    ------
    KeysError
        When the name is not allowed or has a key, or the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise KeysError(
            f"A name may have up to 64 letters, digits, '.', '_' and '-', the first a letter or digit, not '{name}'."
        )
    with _changing(file) as keys:
        if name in keys:
            raise KeysError(f"'{name}' has a key already: remove that one first, or choose another name.")
        key = _PREFIX + secrets.token_urlsafe(32)
        keys[name] = _digest(key)
    return key


def remove(file: Path, name: str) -> None:
    """Remove a key from a file.

    Raises
    ------
    KeysError
        When there is no such name, or the file cannot be read or written.
    """
    with _changing(file) as keys:
        if keys.pop(name, None) is None:
            raise KeysError(f"There is no key of '{name}' in {file}.")


class ApiKeys:
    """The keys that are valid, as the file has them at the moment.

    A file that is damaged or gone while the service runs changes nothing, and is logged. One without keys is valid.

    Parameters
    ----------
    file : see `read`

    Raises
    ------
    KeysError
        When the file cannot be used.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._version = self._current_version()
        self._keys: Mapping[str, str] = read(file)
        self._checked = time.monotonic()
        if not self._keys:
            log(f"{file} has no keys yet, and nobody may use the service: `musicgen_service keys add NAME` adds one")

    def name_of(self, key: str) -> str | None:
        """The name of a key; None when it is not valid."""
        self._refresh()
        given, found = _digest(key), None
        for name, digest in self._keys.items():
            # All of them, so that the time that it takes says nothing about them.
            if hmac.compare_digest(digest, given):
                found = name
        return found

    def _refresh(self) -> None:
        """Read the file again when it has changed."""
        if time.monotonic() - self._checked < _CHECK_INTERVAL:
            return
        self._checked = time.monotonic()
        version = self._current_version()
        if version == self._version:
            return
        self._version = version
        try:
            self._keys = read(self._file)
        except KeysError as error:
            log(f"{error} The keys that were read before stay valid.")

    def _current_version(self) -> tuple[int, int, int] | None:
        """What is different after the file has been written or replaced."""
        try:
            found = self._file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


@contextmanager
def _changing(file: Path) -> Iterator[dict[str, str]]:
    """Yield the keys of a file; those that there are at the end of the block replace the file as a whole."""
    target = file.resolve()
    try:
        # A lock on the folder: one on the file would be lost with the file that is replaced.
        folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise KeysError(f"The folder {target.parent} cannot be used: {error.strerror}.") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        keys = read(target) if target.exists() else {}
        yield keys
        _replace(target, _HEADER + "".join(f"{name} {digest}\n" for name, digest in keys.items()))
    except OSError as error:
        raise KeysError(f"The file of API keys {file} cannot be written: {error.strerror}.") from None
    finally:
        os.close(folder)


def _replace(file: Path, text: str) -> None:
    """Write a file as a whole, with the mode and owner of the one that it replaces, or else readable by its owner."""
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w") as unfinished:
            if file.exists():
                found = file.stat()
                os.fchmod(descriptor, found.st_mode & 0o777)
                with suppress(PermissionError):  # only root may give files away
                    os.fchown(descriptor, found.st_uid, found.st_gid)
            unfinished.write(text)
            unfinished.flush()
            os.fsync(descriptor)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
