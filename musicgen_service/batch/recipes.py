"""Recipes of clips, from the manifest of a batch."""

import hashlib
from pathlib import Path
from typing import Any

from musicgen_service.audio.recipe import RecipeError, files
from musicgen_service.batch import manifest
from musicgen_service.batch.manifest import SUCCEEDED
from musicgen_service.inputs import fetching


def find(path: Path, clip: str) -> tuple[str, dict[str, Any]]:
    """Find a clip in a manifest.

    Parameters
    ----------
    path : of the manifest
    clip : its file, or the id or name of a request that has one clip

    Returns
    -------
    The name of its file, and its recipe, with the paths or addresses of its input files where the manifest has them

    Raises
    ------
    RecipeError
        When there is no such clip, or there are several.
    BatchError
        When the manifest is damaged.
    """
    found: dict[str, dict[str, Any]] = {}
    for record in manifest.records_of(path):
        if record["status"] != SUCCEEDED:
            continue
        is_request = clip in (record["id"], record["name"])
        for made in record["clips"]:
            if is_request or clip == made["file"]:
                found[made["file"]] = made["recipe"] | _sources(record["inputs"], made["recipe"])
    if not found:
        raise RecipeError(f"{path} has no clip '{clip}': name its file, or the id of its line.")
    if len(found) > 1:
        raise RecipeError(f"{path} has {len(found)} clips of '{clip}': name one of {', '.join(sorted(found))}.")
    return found.popitem()


def _sources(inputs: dict[str, Any], recipe: dict[str, Any]) -> dict[str, str]:
    """The input files with their whole paths, or their addresses: a recipe has their names alone."""
    digests = files(recipe)
    by_digest = {_sha256(value): value for value in inputs.values()} if digests else {}
    addresses = {name: value for name, value in inputs.items() if fetching.is_address(value) and "://" in value}
    sources = {}
    for name, digest in digests.items():
        if digest in by_digest:
            sources[name] = by_digest[digest]
        elif name in addresses:
            sources[name] = addresses[name]
        elif name not in inputs and len(addresses) == 1:  # of a drop-in, which has another name for it
            [sources[name]] = addresses.values()
    return sources


def _sha256(path: Any) -> str | None:
    """The digest of a file's content; None for any other value."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, TypeError, ValueError):
        return None
