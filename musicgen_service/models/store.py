"""The weights folder: what is in it, whether it is whole, and how more gets there."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from musicgen_service.models.catalogue import (
    CHECKPOINT_FILES,
    CHECKPOINTS,
    COMPONENTS,
    Checkpoint,
    Component,
)

MANIFEST = "manifest.json"
_PARTIAL = ".partial"


class WeightsError(RuntimeError):
    """Weights are missing, damaged or could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a hub repository: its path there, its size in bytes and how to check its content."""

    path: str
    size: int
    algorithm: str
    """`sha256` for large files, `git` for small ones (the SHA-1 that git gives a blob)."""
    digest: str


class WeightStore:
    """A folder with one sub-folder for each checkpoint and shared part.

    A sub-folder appears under its name only when it is complete and its checksums agree, so whatever
    is present can be loaded.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def from_environment(cls) -> "WeightStore":
        """`MUSICGEN_WEIGHTS`, or `weights/` beside the package."""
        default = Path(__file__).resolve().parents[2] / "weights"
        return cls(Path(os.environ.get("MUSICGEN_WEIGHTS") or default).resolve())

    def path(self, name: str) -> Path:
        """Where the checkpoint or part of that name is, or would be."""
        return self.root / name

    def present(self) -> list[str]:
        """Names of the checkpoints that can be loaded, in catalogue order."""
        return [name for name in CHECKPOINTS if self.has(name)]

    def has(self, name: str) -> bool:
        """Whether a checkpoint or shared part is here."""
        folder = self.path(name)
        if name in CHECKPOINTS:
            return all((folder / file).is_file() for file in CHECKPOINT_FILES)
        return folder.is_dir() and any(folder.iterdir())

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
            if not path.is_file() or path.stat().st_size != entry["size"]:
                raise WeightsError(f"'{name}' is damaged ({file} is not whole): {fetch_hint(name)}.")
        return self.path(name)

    def verify(self, name: str) -> list[str]:
        """Problems found by reading every file of `name`; empty when all checksums agree."""
        if not self.has(name):
            return [f"{name}: not here"]
        manifest = self._manifest(name)
        if not manifest:
            return [f"{name}: no {MANIFEST}, nothing to compare with"]
        problems = []
        for file, entry in manifest.items():
            path = self.path(name) / file
            if not path.is_file():
                problems.append(f"{name}/{file}: missing")
            elif sha256(path) != entry["sha256"]:
                problems.append(f"{name}/{file}: checksum differs")
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
            For an unknown name, an unreachable hub, or content that does not match its checksum.
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
            raise WeightsError(
                f"'{name}' is not a known checkpoint: use one of {', '.join([*CHECKPOINTS, *COMPONENTS])}."
            )
        for item in wanted:
            if self.has(item.name) and not self._damaged(item.name):
                yield f"{item.name}: already here"
                continue
            self._fetch_one(item)
            yield f"{item.name}: fetched from {item.hub_id} ({item.licence})"
        if not wanted:
            yield f"{name}: part of this repository"

    def _damaged(self, name: str) -> bool:
        return bool(self._manifest(name)) and bool(self.verify(name))

    def _fetch_one(self, item: Checkpoint | Component) -> None:
        # Imported here: the hub client takes a second to import and only this command needs it.
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError

        assert item.hub_id is not None
        patterns = item.files if isinstance(item, Component) else CHECKPOINT_FILES
        partial = self.root / _PARTIAL / item.name
        partial.mkdir(parents=True, exist_ok=True)
        try:
            info = HfApi().model_info(item.hub_id, files_metadata=True)
            files = _matching(_remote_files(info.siblings or []), patterns, item.hub_id)
            for file in files:
                hf_hub_download(item.hub_id, file.path, revision=info.sha, local_dir=partial)
        except (HfHubHTTPError, OSError) as error:
            raise WeightsError(f"'{item.name}' could not be fetched from {item.hub_id}: {error}") from error
        for file in files:
            path = partial / file.path
            if path.stat().st_size != file.size or _digest(path, file.algorithm) != file.digest:
                path.unlink()
                raise WeightsError(
                    f"{file.path} of {item.hub_id} arrived damaged and was discarded: fetch '{item.name}' again."
                )
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        _write_manifest(partial, source=item.hub_id, revision=info.sha or "")
        target = self.path(item.name)
        if target.exists():
            shutil.rmtree(target)
        partial.rename(target)

    def _manifest(self, name: str) -> dict[str, dict[str, object]]:
        file = self.path(name) / MANIFEST
        if not file.is_file():
            return {}
        files: dict[str, dict[str, object]] = json.loads(file.read_text())["files"]
        return files


def fetch_hint(name: str) -> str:
    """The command that brings `name`, as the end of a sentence."""
    return f"run `python -m musicgen_service weights fetch {name}`"


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(path: Path, algorithm: str) -> str:
    if algorithm == "sha256":
        return sha256(path)
    # git names a blob by the SHA-1 of this header and its content; the hub does the same for small files.
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _remote_files(siblings: Iterable[object]) -> list[RemoteFile]:
    files = []
    for sibling in siblings:
        lfs = getattr(sibling, "lfs", None)
        algorithm, digest = ("sha256", lfs.sha256) if lfs else ("git", getattr(sibling, "blob_id", ""))
        files.append(
            RemoteFile(
                path=getattr(sibling, "rfilename", ""),
                size=getattr(sibling, "size", 0),
                algorithm=algorithm,
                digest=digest,
            )
        )
    return files


def _matching(files: list[RemoteFile], patterns: tuple[str, ...], hub_id: str) -> list[RemoteFile]:
    chosen = []
    for pattern in patterns:
        matches = [file for file in files if fnmatch(file.path, pattern)]
        if not matches:
            raise WeightsError(f"{hub_id} has no file {pattern}.")
        chosen += matches
    return chosen


def _write_manifest(folder: Path, source: str, revision: str) -> None:
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"source": source, "revision": revision, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text + "\n")
