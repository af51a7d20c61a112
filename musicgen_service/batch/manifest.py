"""Manifests: what a folder of a batch has, a line of JSON for each request that was made or failed.

Each shard of a batch has its own, so that several machines may write to one folder.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from musicgen_service.batch.errors import BatchError

SUCCEEDED, FAILED = "succeeded", "failed"
_NUMBER = (int, float)
_FILE = {"file": str, "bytes": int}
"""What a record says of a file."""
_NAME = re.compile(r"manifest(?:-(\d+)-of-(\d+))?\.jsonl")


@dataclass(frozen=True)
class Shard:
    """Part `number`, from 1, of a batch in `count` parts."""

    number: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"shard {self.number}/{self.count}" if self.count > 1 else "the batch"

    def labelled(self, word: str) -> str:
        """A word that is different for each shard, for names of files."""
        return f"{word}-{self.number}-of-{self.count}" if self.count > 1 else word


@dataclass
class State:
    """What the manifests of a folder say.

    Attributes
    ----------
    made : names of the requests whose files are all there
    failed : names of the requests that failed, and have not been made since
    seconds_per_second : seconds of audio made in a second, as far as that is known
    """

    made: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    seconds_per_second: float | None = None


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of all manifests of a folder; see `records_of`."""
    for path in _manifests(folder):
        yield from records_of(path)


def records_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a manifest in their order; a line that is being written is left out.

    Raises
    ------
    BatchError
        When a line is damaged.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                continue
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not _is_record(record):
                raise BatchError(f"Line {number} of {path} is damaged: take it out, or restore the file.")
            yield record


def has_files(folder: Path, clip: Mapping[str, Any]) -> bool:
    """Whether the files of a clip are in a folder, each as large as the clip's part of a record says."""
    files = (clip, clip["midi"]) if "midi" in clip else (clip,)
    return all(_has_file(folder / file["file"], file["bytes"]) for file in files)


def _has_file(file: Path, size: int) -> bool:
    try:
        return file.stat().st_size == size
    except OSError:
        return False


def _is_record(value: Any) -> bool:
    """Whether a record has all that is read of it."""
    if not _has(value, {"id": str, "name": str, "status": str}):
        return False
    if value["status"] != SUCCEEDED:
        return True
    return (
        _has(value, {"inputs": dict, "clips": list, "timings": dict})
        and _has(value["timings"], {"seconds": _NUMBER, "at_once": _NUMBER})
        and all(_is_clip(clip) for clip in value["clips"])
    )


def _is_clip(value: Any) -> bool:
    is_clip = _has(value, {**_FILE, "seconds": _NUMBER, "recipe": dict})
    return is_clip and ("midi" not in value or _has(value["midi"], _FILE))


def _has(value: Any, kinds: Mapping[str, Any]) -> bool:
    """Whether a value is an object with values of these kinds."""
    return isinstance(value, dict) and all(isinstance(value.get(name), kind) for name, kind in kinds.items())


def read_state(folder: Path) -> State:
    """Read what the manifests of a folder say; see `records` for errors."""
    state = State()
    audio = time = 0.0
    for record in records(folder):
        name = record["name"]
        if record["status"] != SUCCEEDED:
            state.failed.add(name)
            continue
        state.failed.discard(name)
        if record["clips"] and all(has_files(folder, clip) for clip in record["clips"]):
            state.made.add(name)
        timings = record["timings"]
        audio += sum(clip["seconds"] for clip in record["clips"])
        time += timings["seconds"] / timings["at_once"]
    # Manifests are not read in the order in which they were written: what failed in one may be made in another.
    state.failed -= state.made
    if time > 0:
        state.seconds_per_second = audio / time
    return state


class Manifest:
    """The manifest of one shard, which this process alone may write to until it is closed.

    Parameters
    ----------
    folder : exists
    shard : whose it is

    Raises
    ------
    BatchError
        When another process is writing to it, or to one of another number of shards.
    """

    def __init__(self, folder: Path, shard: Shard) -> None:
        self._path = folder / f"{shard.labelled('manifest')}.jsonl"
        self._file = self._path.open("a+b", buffering=0)
        if not (_lock(self._file, fcntl.LOCK_EX) and self._is_in_place()):
            self._file.close()
            raise BatchError(f"Another process is making {shard} in {folder}.")
        try:
            for path in _manifests(folder):
                if _count_of(path) != shard.count and _is_locked(path):
                    raise BatchError(f"Another process is making other shards in {folder}: see {path.name}.")
            self._remove_unfinished_line()
        except BaseException:
            self.close()
            raise

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record; it is on the disk when this returns."""
        # A name of a file need not be text; what is none becomes an escape of JSON.
        line = json.dumps(record, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"
        end = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(28, os.strerror(28), self._file.name)
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise

    def close(self) -> None:
        """Let others write to it; an empty one is removed."""
        if not os.fstat(self._file.fileno()).st_size:
            self._path.unlink(missing_ok=True)
        self._file.close()

    def _is_in_place(self) -> bool:
        """Whether the locked file is still the one in the folder: another process may have removed an empty one."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def _remove_unfinished_line(self) -> None:
        """Remove what a process that was killed, or a full disk, left at the end."""
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                whole += len(line)
        self._file.truncate(whole)


def _manifests(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("manifest*.jsonl") if _NAME.fullmatch(path.name))


def _count_of(path: Path) -> int:
    match = _NAME.fullmatch(path.name)
    assert match is not None
    return int(match[2] or 1)


def _lock(file: BinaryIO, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        return not _lock(file, fcntl.LOCK_SH)
