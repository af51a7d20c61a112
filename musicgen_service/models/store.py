"""The weights folder: its contents, and their verification."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from musicgen_service import installation, settings
from musicgen_service.models import manifest
from musicgen_service.models.catalogue import (
    CHECKPOINT_FILES,
    CHECKPOINTS,
    CODEC,
    COMPONENTS,
    T5,
    fetch_hint,
    first_match,
)
from musicgen_service.models.checksums import Checksums
from musicgen_service.models.manifest import MANIFEST, Entry


class WeightsError(RuntimeError):
    """Weights are missing, damaged, too large or could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of a checkpoint and of the parts that it may use, verified against their manifests.

    Attributes
    ----------
    name : of the checkpoint
    language_model, codec : its own files
    own_parts : folders inside the checkpoint's folder, by name
    shared_parts : folders of the present parts that it shares with other checkpoints, by name
    """

    name: str
    language_model: Path
    codec: Path
    own_parts: Mapping[str, Path]
    shared_parts: Mapping[str, Path]

    def part(self, reference: str) -> Path:
        """Return the folder of a text encoder or codec that the checkpoint refers to by name or by repository and name.

        Raises
        ------
        WeightsError
            When it is missing.
        """
        name = reference.rpartition("/")[2]
        folder = self.own_parts.get(reference) or self.shared_parts.get(name)
        if folder is None:
            raise WeightsError(_missing(name))
        return folder


class WeightStore:
    """A folder with one sub-folder per checkpoint and shared part.

    A sub-folder gets its final name only when it is complete and its checksums match, so whatever is
    present can be loaded.

    Parameters
    ----------
    root : the folder
    shipped : a read-only folder with checkpoints, used where `root` has none of that name
    """

    def __init__(self, root: Path, shipped: Path | None = installation.SHIPPED_WEIGHTS) -> None:
        self.root = root
        self._shipped = shipped
        self._checksums = Checksums()

    @classmethod
    def from_environment(cls) -> "WeightStore":
        """Open the weights folder of the settings."""
        return cls(settings.load().weights)

    def path(self, name: str) -> Path:
        """Return the folder of the checkpoint or part of that name, whether or not it exists."""
        own = self.root / name
        if self._shipped is not None and not own.exists() and (self._shipped / name).is_dir():
            return self._shipped / name
        return own

    def present(self) -> list[str]:
        """List the names of the checkpoints that can be loaded, in catalogue order."""
        return [name for name in CHECKPOINTS if self.has(name)]

    def has(self, name: str) -> bool:
        """Whether a checkpoint or shared part is present.

        Raises
        ------
        WeightsError
            When its folder cannot be read.
        """
        folder = self.path(name)
        with _wrap_os_errors(name):
            if name in CHECKPOINTS:
                return all((folder / file).is_file() for file in CHECKPOINT_FILES)
            if name not in COMPONENTS or not folder.is_dir():
                return False
            files = [str(path.relative_to(folder)) for path in _files(folder)]
        return all(first_match(pattern, files) is not None for pattern in COMPONENTS[name].files)

    def require(self, name: str) -> None:
        """Raise WeightsError unless a checkpoint or shared part is present; its content is not looked at."""
        if not self.has(name):
            raise WeightsError(_missing(name))

    def size(self, name: str) -> int:
        """Return the total size of the files of `name` in bytes; 0 when there are none."""
        return sum(path.stat().st_size for path in self.path(name).rglob("*") if path.is_file())

    def checkpoint(self, name: str) -> CheckpointFiles:
        """Return the files needed to load a checkpoint, verified.

        Raises
        ------
        WeightsError
            As `component` does, for the checkpoint and for its present parts.
        """
        folder = self.component(name)
        language_model, codec = (folder / file for file in CHECKPOINT_FILES)
        with _wrap_os_errors(name):
            own = {path.name: path for path in folder.iterdir() if path.is_dir()}
        used = [part for part in CHECKPOINTS[name].components if part in (T5, CODEC) and self.has(part)]
        shared = {part: self.component(part) for part in used}
        return CheckpointFiles(name, language_model, codec, own, shared)

    def component(self, name: str) -> Path:
        """Return the folder of a checkpoint or part, verified against its manifest if it has one.

        Raises
        ------
        WeightsError
            When it is missing, or the size or content of a file differs from the manifest.
        """
        self.require(name)
        folder, entries = self.path(name), self._manifest(name)
        # All sizes first: a truncated file is found without reading any content.
        for file, entry in entries.items():
            with _wrap_os_errors(name):
                has_right_size = (folder / file).is_file() and (folder / file).stat().st_size == entry.size
            if not has_right_size:
                raise WeightsError(f"'{name}' is damaged ({file} is not whole): {fetch_hint(name)}.")
        for file, entry in entries.items():
            with _wrap_os_errors(name):
                has_right_checksum = self._checksums.of(folder / file) == entry.sha256
            if not has_right_checksum:
                raise WeightsError(f"'{name}' is damaged (the checksum of {file} differs): {fetch_hint(name)}.")
        return folder

    def verify(self, name: str) -> list[str]:
        """Read every file of `name` and list the problems; empty when all checksums match."""
        try:
            if not self.has(name):
                return [f"{name}: not here"]
            entries = self._manifest(name)
        except WeightsError as error:
            return [str(error)]
        if not entries:
            return [f"{name}: no {MANIFEST}, nothing to compare with"]
        problems = []
        for file, entry in entries.items():
            path = self.path(name) / file
            try:
                if not path.is_file():
                    problems.append(f"{name}/{file}: missing")
                elif manifest.sha256(path) != entry.sha256:
                    problems.append(f"{name}/{file}: checksum differs")
            except OSError as error:
                problems.append(f"{name}/{file}: {error.strerror}")
        return problems

    def write_manifest(self, name: str) -> None:
        """Write a manifest of the current files of `name` (used for checkpoints made here)."""
        manifest.write(self.path(name), source="made here")

    def _manifest(self, name: str) -> dict[str, Entry]:
        with _wrap_os_errors(name):
            try:
                return manifest.read(self.path(name))
            except ValueError as error:
                raise WeightsError(f"'{name}' is damaged ({error}): {fetch_hint(name)}.") from None


def _missing(name: str) -> str:
    return f"'{name}' is not in the weights folder: {fetch_hint(name)}."


@contextmanager
def _wrap_os_errors(name: str) -> Iterator[None]:
    """Turn errors of reading a checkpoint or part into a `WeightsError`, one sentence without paths."""
    try:
        yield
    except OSError as error:
        raise WeightsError(f"'{name}' cannot be read ({error.strerror}): let this user read its folder.") from error


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files in a folder, at any depth; `rglob` would silently skip unreadable folders."""

    def reraise(error: OSError) -> None:
        raise error

    for parent, _, names in os.walk(folder, onerror=reraise):
        yield from (Path(parent, name) for name in names)
