"""Writing the clips of a batch as a data set: WebDataset's tar files, or an audio folder of Hugging Face."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from musicgen_service.batch import manifest
from musicgen_service.batch.errors import BatchError
from musicgen_service.batch.manifest import SUCCEEDED

_SHARD_BYTES = 10**9
"""Size after which another tar file begins."""
_HEARD = ("seconds", "seed", "loudness_lufs", "tempo_bpm", "tempo_confidence", "key", "key_confidence")
"""What is known of every clip, as columns: None where it was not listened for or not found."""


def clips(folder: Path) -> list[dict[str, Any]]:
    """Every clip of a batch: its part of the manifest, and the `id` of its request.

    A clip that was made more than once is described by the last record that fits the file.

    Raises
    ------
    BatchError
        When a clip's files are missing or have other sizes, or there is none.
    """
    found: dict[str, dict[str, Any]] = {}
    listed: set[str] = set()
    for record in manifest.records(folder):
        if record["status"] == SUCCEEDED:
            listed |= {clip["file"] for clip in record["clips"]}
            whole = (clip for clip in record["clips"] if manifest.has_files(folder, clip))
            found |= {clip["file"]: {"id": record["id"], **clip} for clip in whole}
    if lost := sorted(listed - found.keys()):
        raise BatchError(f"{folder / lost[0]} is not as it was made: run the batch again, which replaces it.")
    if not found:
        raise BatchError(f"There are no clips in {folder}: `batch` makes them.")
    return [found[name] for name in sorted(found)]


def write_webdataset(folder: Path, target: Path) -> int:
    """Write tar files of samples: a clip, its `json`, its prompt as `txt` and its `mid` where it has one.

    Parameters
    ----------
    folder : of the batch
    target : the new folder

    Returns
    -------
    The number of clips
    """
    # Imported here: it loads torch's loaders of data.
    from webdataset import ShardWriter

    def write(unfinished: Path, found: list[dict[str, Any]]) -> None:
        pattern = f"{unfinished.absolute()}".replace("%", "%%") + "/clips-%06d.tar"
        # A fixed time, so that the same clips give the same files.
        with ShardWriter(pattern, maxsize=_SHARD_BYTES, verbose=0, encoder=False, mtime=0) as writer:
            for clip in found:
                writer.write(_sample(folder, clip))

    return _write(folder, target, write)


def write_audio_folder(folder: Path, target: Path) -> int:
    """Write an audio folder, which `datasets.load_dataset` reads: the clips and a `metadata.jsonl`.

    The layout is that of https://huggingface.co/docs/datasets/audio_dataset. MIDI files are no part of it.

    Parameters
    ----------
    folder : of the batch
    target : the new folder

    Returns
    -------
    The number of clips
    """

    def write(unfinished: Path, found: list[dict[str, Any]]) -> None:
        with (unfinished / "metadata.jsonl").open("w", encoding="utf-8") as file:
            for clip in found:
                _link_or_copy(folder / clip["file"], unfinished / clip["file"])
                file.write(json.dumps(_row(clip), ensure_ascii=False) + "\n")

    return _write(folder, target, write)


def _write(folder: Path, target: Path, write: Callable[[Path, list[dict[str, Any]]], None]) -> int:
    """Write a data set to a new folder, which appears when it is complete."""
    found = clips(folder)
    unfinished = target.with_name(f".{target.name}.unfinished")
    # What an export that was killed left there.
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        write(unfinished, found)
        unfinished.rename(target)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return len(found)


def _sample(folder: Path, clip: dict[str, Any]) -> dict[str, Any]:
    path = folder / clip["file"]
    # What follows the first dot of a name is the kind of a file in WebDataset; no name of a clip has a '+'.
    sample: dict[str, Any] = {"__key__": path.stem.replace(".", "+"), path.suffix[1:]: path.read_bytes()}
    sample["json"] = json.dumps(clip, ensure_ascii=False).encode()
    if prompt := clip["recipe"].get("prompt"):
        sample["txt"] = prompt.encode()
    if "midi" in clip:
        sample["mid"] = (folder / clip["midi"]["file"]).read_bytes()
    return sample


def _row(clip: dict[str, Any]) -> dict[str, Any]:
    """The columns of a clip; its recipe is JSON in a text, as recipes differ in their fields."""
    heard = {name: clip.get(name) for name in _HEARD}
    recipe = clip["recipe"]
    head = {"file_name": clip["file"], "id": clip["id"], "prompt": recipe.get("prompt"), "task": recipe["task"]}
    return head | {"model": recipe["model_version"]} | heard | {"recipe": json.dumps(recipe, ensure_ascii=False)}


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
