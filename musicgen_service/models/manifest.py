"""Manifests: sizes and checksums of the files in a folder of weights, recorded when the folder was complete."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Entry:
    """Expected size of a file in bytes, and its SHA-256 in hexadecimal."""

    size: int
    sha256: str


def read(folder: Path) -> dict[str, Entry]:
    """Read the entries, by path relative to the folder; empty when there is no manifest.

    Raises
    ------
    ValueError
        When the manifest is malformed.
    OSError
        When it cannot be read.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return {}
    text = file.read_bytes()
    try:
        files = json.loads(text)["files"]
        return {path: Entry(entry["size"], entry["sha256"]) for path, entry in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{MANIFEST} cannot be read") from error


def write(folder: Path, source: str, revision: str = "") -> None:
    """Write a manifest of the current files of a folder.

    Parameters
    ----------
    source : where they came from, as free text or a repository
    revision : of that repository
    """
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }
    text = json.dumps({"source": source, "revision": revision, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text + "\n")


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
