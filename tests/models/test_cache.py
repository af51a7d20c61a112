"""Model cache: which models stay in memory, and which are evicted."""

import shutil
import weakref
from pathlib import Path

import pytest
import torch

from musicgen_service.models import loading
from musicgen_service.models.cache import GB, ModelCache, ModelTooLarge, memory_budget
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore

CPU = torch.device("cpu")


def _size(store: WeightStore, *names: str) -> int:
    return sum(loading.memory_needed(store.checkpoint(name), CPU) for name in names)


def test_a_loaded_model_is_not_loaded_again(store: WeightStore) -> None:
    models = ModelCache(store, CPU, GB)
    assert models.get("small") is models.get("small")
    assert models.names() == ["small"]


def test_a_loaded_model_does_not_need_the_weights_folder(weights: Path, tmp_path: Path) -> None:
    for name in ("small", "t5-base"):
        shutil.copytree(weights / name, tmp_path / name)
    models = ModelCache(WeightStore(tmp_path), CPU, GB)
    small = models.get("small")
    shutil.rmtree(tmp_path / "small")
    assert models.get("small") is small


def test_least_recently_used_model_is_evicted(store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "melody", "stereo-small"))
    for name in ("small", "melody", "stereo-small", "small"):
        models.get(name)
    assert models.names() == ["melody", "stereo-small", "small"]
    models.get("stereo-melody")
    assert "melody" not in models.names()
    assert models.names()[-2:] == ["small", "stereo-melody"]
    assert "dropped 'melody' to make room for 'stereo-melody'" in capsys.readouterr().err


def test_no_more_models_than_needed_are_evicted(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "stereo-small"))
    models.get("small")
    models.get("stereo-small")
    models.get("melody")
    assert models.names() == ["stereo-small", "melody"]


def test_too_large_model_is_rejected_before_it_is_read(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache(store, CPU, _size(store, "small"))
    small = models.get("small")
    monkeypatch.setattr(loading, "load_model", lambda *_arguments: pytest.fail("it was read"))
    sentence = r"'stereo-small' needs about 0\.0 GB and models may take 0\.0 GB here \(MUSICGEN_MEMORY_GB\)"
    with pytest.raises(ModelTooLarge, match=sentence):
        models.get("stereo-small")
    assert models.get("small") is small


def test_diffusion_counts_together_with_its_model(store: WeightStore) -> None:
    part = sum(file.stat().st_size for file in store.path(DIFFUSION).iterdir())
    models = ModelCache(store, CPU, _size(store, "small") + part)
    models.get("melody")
    diffusion = models.diffusion("small")
    assert models.names() == ["small", f"{DIFFUSION} for small"]
    assert models.diffusion("small") is diffusion


def test_evicted_model_is_freed_with_its_diffusion(store: WeightStore) -> None:
    diffusion = sum(file.stat().st_size for file in store.path(DIFFUSION).iterdir())
    models = ModelCache(store, CPU, _size(store, "small") + diffusion)
    model = models.get("small")
    assert isinstance(model, MusicGenModel)
    parts = [weakref.ref(part) for part in (model.tokenizer, model.codec, model.generator)]
    del model
    models.diffusion("small")
    models.get("melody")
    assert models.names() == ["melody"]
    assert [part() for part in parts] == [None, None, None]


def test_diffusion_that_does_not_fit_with_its_model_is_rejected(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small") + 1000)
    with pytest.raises(ModelTooLarge, match=f"'{DIFFUSION} for small' needs about"):
        models.diffusion("small")
    assert models.names() == ["small"]


def test_failed_load_does_not_affect_other_models(weights: Path, tmp_path: Path) -> None:
    for name in ("small", "stereo-small", "t5-base"):
        shutil.copytree(weights / name, tmp_path / name)
    (tmp_path / "stereo-small" / "state_dict.bin").write_bytes(b"garbage")
    models = ModelCache(WeightStore(tmp_path), CPU, GB)
    small = models.get("small")
    with pytest.raises(WeightsError):
        models.get("stereo-small")
    assert models.names() == ["small"]
    assert models.get("small") is small
    shutil.copy(weights / "stereo-small" / "state_dict.bin", tmp_path / "stereo-small")
    assert models.get("stereo-small").channels == 2


def test_clear_evicts_all_models(store: WeightStore) -> None:
    models = ModelCache(store, CPU, GB)
    models.get("small")
    models.clear()
    assert models.names() == []


def test_budget_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_MEMORY_GB", "1.5")
    assert memory_budget(CPU) == 1_500_000_000


def test_default_budget_is_less_than_the_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    monkeypatch.delenv("MUSICGEN_MEMORY_GB", raising=False)
    assert 0 < memory_budget(CPU) < psutil.virtual_memory().available
