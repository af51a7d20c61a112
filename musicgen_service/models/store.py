"""The weights folder: what is in it, and whether it is whole."""

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
from musicgen_service.models.manifest import MANIFEST, Checksums, Entry


class WeightsError(RuntimeError):
    """Weights are missing, damaged, too large or could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class CheckpointFiles:
    """The files of one checkpoint and of the parts it may use, all of them as their manifests say.

    Attributes
    ----------
    name : of the checkpoint
    language_model, codec : its own files
    own_parts : folders inside the checkpoint's, by name
    shared_parts : folders of those parts that it shares with other checkpoints and that are here, by name
    """

    name: str
    language_model: Path
    codec: Path
    own_parts: Mapping[str, Path]
    shared_parts: Mapping[str, Path]

    def part(self, reference: str) -> Path:
        """The folder of a text encoder or codec, as the checkpoint refers to it: by name, or by repository and name.

        Raises
        ------
        WeightsError
            When it is not here.
        """
        name = reference.rpartition("/")[2]
        folder = self.own_parts.get(reference) or self.shared_parts.get(name)
        if folder is None:
            raise _missing(name)
        return folder


class WeightStore:
    """A folder with one sub-folder for each checkpoint and shared part.

    A sub-folder appears under its name only when it is complete and its checksums agree, so whatever
    is present can be loaded.

    Parameters
    ----------
    root : the folder
    shipped : a folder of checkpoints that are here where `root` has none of their name; it is only read
    """

    def __init__(self, root: Path, shipped: Path | None = installation.SHIPPED_WEIGHTS) -> None:
        self.root = root
        self._shipped = shipped
        self._checksums = Checksums()

    @classmethod
    def from_environment(cls) -> "WeightStore":
        """The weights folder of the settings."""
        return cls(settings.load().weights)

    def path(self, name: str) -> Path:
        """Where the checkpoint or part of that name is, or would be."""
        own = self.root / name
        if self._shipped is not None and not own.exists() and (self._shipped / name).is_dir():
            return self._shipped / name
        return own

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

    def checkpoint(self, name: str) -> CheckpointFiles:
        """All that loading a checkpoint reads.

        Raises
        ------
        WeightsError
            As `component` does, for the checkpoint and for those of its parts that are here.
        """
        folder = self.component(name)
        language_model, codec = (folder / file for file in CHECKPOINT_FILES)
        with _reading(name):
            own = {path.name: path for path in folder.iterdir() if path.is_dir()}
        used = [part for part in CHECKPOINTS[name].components if part in (T5, CODEC) and self.has(part)]
        shared = {part: self.component(part) for part in used}
        return CheckpointFiles(name, language_model, codec, own, shared)

    def component(self, name: str) -> Path:
        """The folder of a checkpoint or part, whose files agree with its manifest, where it has one.

        Raises
        ------
        WeightsError
            When it is not here, a file is shorter or longer than the manifest says, or its content differs.
        """
        if not self.has(name):
            raise _missing(name)
        folder, entries = self.path(name), self._manifest(name)
        # All sizes first: what was cut short is found without reading anything.
        for file, entry in entries.items():
            with _reading(name):
                whole = (folder / file).is_file() and (folder / file).stat().st_size == entry.size
            if not whole:
                raise WeightsError(f"'{name}' is damaged ({file} is not whole): {fetch_hint(name)}.")
        for file, entry in entries.items():
            with _reading(name):
                agrees = self._checksums.of(folder / file) == entry.sha256
            if not agrees:
                raise WeightsError(f"'{name}' is damaged (the checksum of {file} differs): {fetch_hint(name)}.")
        return folder

    def verify(self, name: str) -> list[str]:
        """Problems found by reading every file of `name`; empty when all checksums agree."""
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
        """Record the present files of `name` as the right ones (used for checkpoints made here)."""
        manifest.write(self.path(name), source="made here")

    def _manifest(self, name: str) -> dict[str, Entry]:
        with _reading(name):
            try:
                return manifest.read(self.path(name))
            except ValueError as error:
                raise WeightsError(f"'{name}' is damaged ({error}): {fetch_hint(name)}.") from None


def _missing(name: str) -> WeightsError:
    return WeightsError(f"'{name}' is not in the weights folder: {fetch_hint(name)}.")


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
