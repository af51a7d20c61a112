"""The weights folder: presence, verification, and the files of a checkpoint."""

import os
import shutil
from pathlib import Path

import pytest

from musicgen_service.models.catalogue import CHECKPOINT_FILES
from musicgen_service.models.store import WeightsError, WeightStore


@pytest.fixture
def empty(tmp_path: Path) -> WeightStore:
    """An empty weights folder."""
    return WeightStore(tmp_path / "weights")


def test_component_with_a_missing_file_is_not_present(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "t5-base", empty.path("t5-base"))
    assert empty.has("t5-base")
    (empty.path("t5-base") / "tokenizer.json").unlink()
    assert not empty.has("t5-base")


def test_manifest_can_be_written_for_existing_weights(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "small", empty.path("small"))
    assert empty.verify("small") == ["small: no manifest.json, nothing to compare with"]
    empty.write_manifest("small")
    assert empty.verify("small") == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a checkpoint `small`, in an otherwise empty weights folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    for file in CHECKPOINT_FILES:
        (folder / file).write_bytes(b"weights")
    return folder


def test_changed_file_is_not_loaded(folder: Path) -> None:
    store = WeightStore(folder.parent)
    assert store.component("small") == folder  # without a manifest there is nothing to compare with
    store.write_manifest("small")
    assert store.component("small") == folder
    (folder / CHECKPOINT_FILES[0]).write_bytes(b"Weights")
    with pytest.raises(WeightsError, match=r"'small' is damaged \(the checksum of state_dict.bin differs\): run"):
        store.component("small")


def test_checksum_is_recomputed_only_after_a_change(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = WeightStore(folder.parent)
    store.write_manifest("small")
    store.component("small")
    monkeypatch.setattr("musicgen_service.models.manifest.sha256", lambda _path: "another")
    assert store.component("small") == folder
    os.utime(folder / CHECKPOINT_FILES[0], (1, 1))
    with pytest.raises(WeightsError, match="checksum"):
        store.component("small")


def test_checkpoint_lists_its_present_parts(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "small", empty.path("small"))
    (empty.path("small") / "t5").mkdir()
    files = empty.checkpoint("small")
    assert files.part("t5") == empty.path("small") / "t5"
    with pytest.raises(WeightsError, match=r"'t5-base' is not in the weights folder: run .* fetch t5-base"):
        files.part("google-t5/t5-base")
    shutil.copytree(weights / "t5-base", empty.path("t5-base"))
    assert empty.checkpoint("small").part("google-t5/t5-base") == empty.path("t5-base")


def test_damaged_part_prevents_loading_of_its_checkpoint(weights: Path, empty: WeightStore) -> None:
    for name in ("small", "t5-base"):
        shutil.copytree(weights / name, empty.path(name))
    empty.write_manifest("t5-base")
    (empty.path("t5-base") / "tokenizer.json").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"'t5-base' is damaged \(tokenizer.json is not whole\)"):
        empty.checkpoint("small")
