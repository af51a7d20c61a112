"""Fetching of weights from the hub into the weights folder; a folder gets its final name only when complete."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock

from musicgen_service.models import hub, manifest
from musicgen_service.models.catalogue import (
    CHECKPOINT_FILES,
    CHECKPOINTS,
    COMPONENTS,
    Checkpoint,
    Component,
    fetch_hint,
)
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.suggestion import did_you_mean

_PARTIAL = ".partial"


def fetch(store: WeightStore, name: str) -> Iterator[str]:
    """Fetch a checkpoint and the parts that it needs, yielding status lines for each.

    An interrupted fetch resumes where it stopped; a folder gets its final name only after its checksums match the
    hub's.

    Raises
    ------
    WeightsError
        For an unknown name, an unreachable hub, content that does not match its checksum, or a folder that is not
        writable.
    """
    items: list[Checkpoint | Component] = []
    if name in CHECKPOINTS:
        checkpoint = CHECKPOINTS[name]
        items += [COMPONENTS[part] for part in checkpoint.components]
        if checkpoint.hub_id is not None:
            items.append(checkpoint)
    elif name in COMPONENTS:
        items.append(COMPONENTS[name])
    else:
        known = [*CHECKPOINTS, *COMPONENTS]
        raise WeightsError(
            f"'{name}' is not a known checkpoint{did_you_mean(name, known)}: use one of {', '.join(known)}."
        )
    for item in items:
        if _is_intact(store, item.name):
            yield f"{item.name}: already here"
        elif item.hub_id is None:
            assert isinstance(item, Component)
            files = f"{store.path(item.name)}{os.sep}{' '.join(item.files)}"
            raise WeightsError(f"'{item.name}' is not on the hub: put what {item.page} offers at {files}.")
        else:
            yield from _fetch_one(store, item, item.hub_id)
            yield f"{item.name}: complete, checksums agree"
    if not items:
        yield f"{name}: part of this repository"


def _is_intact(store: WeightStore, name: str) -> bool:
    """Whether `name` is present and matches its manifest, if it has one."""
    return store.has(name) and (not (store.path(name) / manifest.MANIFEST).is_file() or not store.verify(name))


def _fetch_one(store: WeightStore, item: Checkpoint | Component, repository: str) -> Iterator[str]:
    partial = store.root / _PARTIAL / item.name
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with FileLock(partial.with_suffix(".lock")):
            files = hub.list_files(repository, item.files if isinstance(item, Component) else CHECKPOINT_FILES)
            size = sum(file.size for file in files)
            yield f"{item.name}: fetching {size / 1e6:,.0f} MB from {repository} ({item.licence})"
            for file in files:
                hub.download(file, partial / file.path)
            for unfinished in partial.rglob(f"*{hub.UNFINISHED_SUFFIX}"):
                unfinished.unlink()
            manifest.write(partial, source=repository, revision=files[0].revision)
            _move_into_place(partial, store.path(item.name))
    except hub.HubError as error:
        raise WeightsError(f"{error}: {fetch_hint(item.name)} to go on.") from error
    except OSError as error:
        raise WeightsError(
            f"The weights folder {store.root} cannot be written ({error.strerror or error}): "
            "make room and let this user write there, or name another folder with MUSICGEN_WEIGHTS."
        ) from error


def _move_into_place(partial: Path, target: Path) -> None:
    """Rename a complete folder to its final name in one step, replacing any previous folder."""
    replaced = partial.with_suffix(".replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        target.rename(replaced)
    partial.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)
