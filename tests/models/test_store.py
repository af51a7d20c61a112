"""What the weights folder says of itself, and what it gives to be loaded."""

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


def test_a_part_with_a_file_missing_is_not_here(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "t5-base", empty.path("t5-base"))
    assert empty.has("t5-base")
    (empty.path("t5-base") / "tokenizer.json").unlink()
    assert not empty.has("t5-base")


def test_weights_made_elsewhere_are_recorded_and_verified(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "small", empty.path("small"))
    assert empty.verify("small") == ["small: no manifest.json, nothing to compare with"]
    empty.write_manifest("small")
    assert empty.verify("small") == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of a checkpoint `small`, in a weights folder of its empty."""
    folder = tmp_path / "small"
    folder.mkdir()
    for file in CHECKPOINT_FILES:
        (folder / file).write_bytes(b"weights")
    return folder


def test_a_changed_file_is_not_loaded(folder: Path) -> None:
    store = WeightStore(folder.parent)
    assert store.component("small") == folder  # without a manifest there is nothing to compare with
    store.write_manifest("small")
    assert store.component("small") == folder
    (folder / CHECKPOINT_FILES[0]).write_bytes(b"Weights")
    with pytest.raises(WeightsError, match=r"'small' is damaged \(the checksum of state_dict.bin differs\): run"):
        store.component("small")


def test_a_file_is_read_again_only_when_it_changed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = WeightStore(folder.parent)
    store.write_manifest("small")
    store.component("small")
    monkeypatch.setattr("musicgen_service.models.manifest.sha256", lambda _path: "another")
    assert store.component("small") == folder
    os.utime(folder / CHECKPOINT_FILES[0], (1, 1))
    with pytest.raises(WeightsError, match="checksum"):
        store.component("small")


def test_a_checkpoint_comes_with_those_of_its_parts_that_are_here(weights: Path, empty: WeightStore) -> None:
    shutil.copytree(weights / "small", empty.path("small"))
    (empty.path("small") / "t5").mkdir()
    files = empty.checkpoint("small")
    assert files.part("t5") == empty.path("small") / "t5"
    with pytest.raises(WeightsError, match=r"'t5-base' is not in the weights folder: run .* fetch t5-base"):
        files.part("google-t5/t5-base")
    shutil.copytree(weights / "t5-base", empty.path("t5-base"))
    assert empty.checkpoint("small").part("google-t5/t5-base") == empty.path("t5-base")


def test_a_damaged_part_keeps_its_checkpoint_from_loading(weights: Path, empty: WeightStore) -> None:
    for name in ("small", "t5-base"):
        shutil.copytree(weights / name, empty.path(name))
    empty.write_manifest("t5-base")
    (empty.path("t5-base") / "tokenizer.json").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"'t5-base' is damaged \(tokenizer.json is not whole\)"):
        empty.checkpoint("small")
