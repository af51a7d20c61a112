"""The weights folder: what is in it, whether it is whole, and how more gets there."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from musicgen_service import settings
from musicgen_service.models import hub
from musicgen_service.models.catalogue import (
    CHECKPOINT_FILES,
    CHECKPOINTS,
    COMPONENTS,
    Checkpoint,
    Component,
    fetch_hint,
    first_match,
)
from musicgen_service.models.hub import sha256
from musicgen_service.suggestion import did_you_mean

MANIFEST = "manifest.json"
_PARTIAL = ".partial"


class WeightsError(RuntimeError):
    """Weights are missing, damaged, too large or could not be fetched; the message says what to do."""


class WeightStore:
    """A folder with one sub-folder for each checkpoint and shared part.

    A sub-folder appears under its name only when it is complete and its checksums agree, so whatever
    is present can be loaded.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[Path, tuple[int, int, str]] = {}
        """Size, time of change and SHA-256 of files that were read; only a file that has changed is read again."""

    @classmethod
    def from_environment(cls) -> "WeightStore":
        """`MUSICGEN_WEIGHTS`, or `weights/` beside the package."""
        return cls(settings.load().weights)

    def path(self, name: str) -> Path:
        """Where the checkpoint or part of that name is, or would be."""
        return self.root / name

    def present(self) -> list[str]:
        """Names of the checkpoints that can be loaded, in catalogue order."""
        return [name for name in CHECKPOINTS if self.has(name)]

    def has(self, name: str) -> bool:
        """Whether a checkpoint or shared part is here.

        Raises
        ------
        WeightsError
            When its folder cannot be read.
        """
        folder = self.path(name)
        with _reading(name):
            if name in CHECKPOINTS:
                return all((folder / file).is_file() for file in CHECKPOINT_FILES)
            if name not in COMPONENTS or not folder.is_dir():
                return False
            held = [str(path.relative_to(folder)) for path in _files(folder)]
        return all(first_match(pattern, held) is not None for pattern in COMPONENTS[name].files)

    def size(self, name: str) -> int:
        """Bytes that the files of `name` take; 0 when none are here."""
        return sum(path.stat().st_size for path in self.path(name).rglob("*") if path.is_file())

    def require(self, name: str) -> Path:
        """The folder of a checkpoint or part whose files have their recorded sizes.

        Raises
        ------
        WeightsError
            When it is not here, or a file is shorter or longer than its manifest says.
        """
        if not self.has(name):
            raise WeightsError(f"'{name}' is not in the weights folder: {fetch_hint(name)}.")
        for file, entry in self._manifest(name).items():
            path = self.path(name) / file
            with _reading(name):
                whole = path.is_file() and path.stat().st_size == entry["size"]
            if not whole:
                raise WeightsError(f"'{name}' is damaged ({file} is not whole): {fetch_hint(name)}.")
        return self.path(name)

    def intact(self, name: str) -> Path:
        """The folder of a checkpoint or part whose files agree with their checksums, where there is a manifest.

        Raises
        ------
        WeightsError
            As `require` does, and when the content of a file is not what its manifest says.
        """
        folder = self.require(name)
        for file, entry in self._manifest(name).items():
            with _reading(name):
                agrees = self._checksum(folder / file) == entry["sha256"]
            if not agrees:
                raise WeightsError(f"'{name}' is damaged (the checksum of {file} differs): {fetch_hint(name)}.")
        return folder

    def _checksum(self, path: Path) -> str:
        stat = path.stat()
        known = self._read.get(path)
        if known is None or known[:2] != (stat.st_size, stat.st_mtime_ns):
            known = self._read[path] = (stat.st_size, stat.st_mtime_ns, sha256(path))
        return known[2]

    def verify(self, name: str) -> list[str]:
        """Problems found by reading every file of `name`; empty when all checksums agree."""
        try:
            if not self.has(name):
                return [f"{name}: not here"]
            manifest = self._manifest(name)
        except WeightsError as error:
            return [str(error)]
        if not manifest:
            return [f"{name}: no {MANIFEST}, nothing to compare with"]
        problems = []
        for file, entry in manifest.items():
            path = self.path(name) / file
            try:
                if not path.is_file():
                    problems.append(f"{name}/{file}: missing")
                elif sha256(path) != entry["sha256"]:
                    problems.append(f"{name}/{file}: checksum differs")
            except OSError as error:
                problems.append(f"{name}/{file}: {error.strerror}")
        return problems

    def write_manifest(self, name: str) -> None:
        """Record the present files of `name` as the right ones (used for checkpoints made here)."""
        _write_manifest(self.path(name), source="made here", revision="")

    def fetch(self, name: str) -> Iterator[str]:
        """Fetch a checkpoint and the parts it needs, yielding one line of news for each.

        An interrupted fetch resumes where it stopped; a folder takes its name only after its
        checksums agree with the hub's.

        Raises
        ------
        WeightsError
            For an unknown name, an unreachable hub, content that does not match its checksum, or a folder that
            cannot be written.
        """
        wanted: list[Checkpoint | Component] = []
        if name in CHECKPOINTS:
            checkpoint = CHECKPOINTS[name]
            wanted += [COMPONENTS[part] for part in checkpoint.components]
            if checkpoint.hub_id is not None:
                wanted.append(checkpoint)
        elif name in COMPONENTS:
            wanted.append(COMPONENTS[name])
        else:
            known = [*CHECKPOINTS, *COMPONENTS]
            raise WeightsError(
                f"'{name}' is not a known checkpoint{did_you_mean(name, known)}: use one of {', '.join(known)}."
            )
        for item in wanted:
            if self._is_whole(item.name):
                yield f"{item.name}: already here"
            elif isinstance(item, Component) and item.hub_id is None:
                files = f"{self.path(item.name)}{os.sep}{' '.join(item.files)}"
                raise WeightsError(f"'{item.name}' is not on the hub: put what {item.page} offers at {files}.")
            else:
                yield from self._fetch_one(item)
                yield f"{item.name}: complete, checksums agree"
        if not wanted:
            yield f"{name}: part of this repository"

    def _is_whole(self, name: str) -> bool:
        """Whether `name` is here and nothing speaks against it."""
        return self.has(name) and (not (self.path(name) / MANIFEST).is_file() or not self.verify(name))

    def _fetch_one(self, item: Checkpoint | Component) -> Iterator[str]:
        assert item.hub_id is not None
        partial = self.root / _PARTIAL / item.name
        try:
            partial.mkdir(parents=True, exist_ok=True)
            with FileLock(partial.with_suffix(".lock")):
                files = hub.find(item.hub_id, item.files if isinstance(item, Component) else CHECKPOINT_FILES)
                size = sum(file.size for file in files)
                yield f"{item.name}: fetching {size / 1e6:,.0f} MB from {item.hub_id} ({item.licence})"
                for file in files:
                    hub.download(file, partial / file.path)
                self._put_in_place(partial, item, files[0].revision)
        except hub.HubError as error:
            raise WeightsError(f"{error}: {fetch_hint(item.name)} to go on.") from error
        except OSError as error:
            raise WeightsError(
                f"The weights folder {self.root} cannot be written ({error.strerror or error}): "
                "make room and let this user write there, or name another folder with MUSICGEN_WEIGHTS."
            ) from error

    def _put_in_place(self, partial: Path, item: Checkpoint | Component, revision: str) -> None:
        """Give a complete folder its name, in one step; what had the name before goes."""
        for left_over in partial.rglob("*.unfinished"):
            left_over.unlink()
        _write_manifest(partial, source=item.hub_id or "", revision=revision)
        target, replaced = self.path(item.name), partial.with_suffix(".replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if target.exists():
            target.rename(replaced)
        partial.rename(target)
        shutil.rmtree(replaced, ignore_errors=True)

    def _manifest(self, name: str) -> dict[str, dict[str, object]]:
        file = self.path(name) / MANIFEST
        with _reading(name):
            if not file.is_file():
                return {}
            text = file.read_bytes()
        try:
            files: dict[str, dict[str, object]] = json.loads(text)["files"]
            return {path: {"size": entry["size"], "sha256": entry["sha256"]} for path, entry in files.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise WeightsError(f"'{name}' is damaged ({MANIFEST} cannot be read): {fetch_hint(name)}.") from None


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """The file system's refusals while a checkpoint or part is read, in one sentence without paths."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"'{name}' cannot be read ({error.strerror}): let this user read its folder.") from error


def _files(folder: Path) -> Iterator[Path]:
    """All files in a folder, at any depth; `rglob` leaves out in silence what it may not read."""

    def refuse(error: OSError) -> None:
        raise error

    for inside, _, names in os.walk(folder, onerror=refuse):
        yield from (Path(inside, name) for name in names)


def _write_manifest(folder: Path, source: str, revision: str) -> None:
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"source": source, "revision": revision, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text + "\n")
