"""Model cache: which models stay in memory, and which are evicted."""

import shutil
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from musicgen_service.engine.interface import Condition
from musicgen_service.engine.slots import Slots
from musicgen_service.models import loading
from musicgen_service.models.cache import ModelCache, ModelTooLarge
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.models.diffusion import Diffusion
from musicgen_service.models.memory import GB
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from tests.support.harness import wait_until
from tests.support.tokens import generate

CPU = torch.device("cpu")


def _size(store: WeightStore, *names: str) -> int:
    return sum(loading.memory_needed(store.checkpoint(name), CPU) for name in names)


def get(models: ModelCache, name: str) -> MusicGenModel:
    with models.lease(name) as model:
        return model


def get_diffusion(models: ModelCache, name: str) -> Diffusion:
    with models.lease_with_diffusion(name) as (_, diffusion):
        return diffusion


def test_a_loaded_model_is_not_loaded_again(store: WeightStore) -> None:
    models = ModelCache(store, CPU, GB)
    assert get(models, "small") is get(models, "small")
    assert models.names() == ["small"]


def test_a_loaded_model_does_not_need_the_weights_folder(weights: Path, tmp_path: Path) -> None:
    for name in ("small", "t5-base"):
        shutil.copytree(weights / name, tmp_path / name)
    models = ModelCache(WeightStore(tmp_path), CPU, GB)
    small = get(models, "small")
    shutil.rmtree(tmp_path / "small")
    assert get(models, "small") is small


def test_least_recently_used_model_is_evicted(store: WeightStore, capsys: pytest.CaptureFixture[str]) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "melody", "stereo-small"))
    for name in ("small", "melody", "stereo-small", "small"):
        get(models, name)
    assert models.names() == ["melody", "stereo-small", "small"]
    get(models, "stereo-melody")
    assert "melody" not in models.names()
    assert models.names()[-2:] == ["small", "stereo-melody"]
    assert "dropped 'melody' to make room for 'stereo-melody'" in capsys.readouterr().err


def test_no_more_models_than_needed_are_evicted(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "stereo-small"))
    get(models, "small")
    get(models, "stereo-small")
    get(models, "melody")
    assert models.names() == ["stereo-small", "melody"]


def test_too_large_model_is_rejected_before_it_is_read(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache(store, CPU, _size(store, "small"))
    small = get(models, "small")
    monkeypatch.setattr(loading, "load_model", lambda *_arguments: pytest.fail("it was read"))
    sentence = r"'stereo-small' needs about 0\.0 GB and models may take 0\.0 GB here \(MUSICGEN_MEMORY_GB\)"
    with pytest.raises(ModelTooLarge, match=sentence):
        get(models, "stereo-small")
    assert get(models, "small") is small


def test_diffusion_counts_together_with_its_model(store: WeightStore) -> None:
    part = sum(file.stat().st_size for file in store.path(DIFFUSION).iterdir())
    models = ModelCache(store, CPU, _size(store, "small") + part)
    get(models, "melody")
    diffusion = get_diffusion(models, "small")
    assert models.names() == ["small", f"{DIFFUSION} for small"]
    assert get_diffusion(models, "small") is diffusion


def test_evicted_model_is_freed_with_its_diffusion(store: WeightStore) -> None:
    diffusion = sum(file.stat().st_size for file in store.path(DIFFUSION).iterdir())
    models = ModelCache(store, CPU, _size(store, "small") + diffusion)
    model = get(models, "small")
    parts = [weakref.ref(part) for part in (model.tokenizer, model.codec, model.generator)]
    del model
    get_diffusion(models, "small")
    get(models, "melody")
    assert models.names() == ["melody"]
    assert [part() for part in parts] == [None, None, None]


def test_diffusion_that_does_not_fit_with_its_model_is_rejected(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small") + 1000)
    with pytest.raises(ModelTooLarge, match=f"'{DIFFUSION} for small' needs about"):
        get_diffusion(models, "small")
    assert models.names() == ["small"]


def test_failed_load_does_not_affect_other_models(weights: Path, tmp_path: Path) -> None:
    for name in ("small", "stereo-small", "t5-base"):
        shutil.copytree(weights / name, tmp_path / name)
    (tmp_path / "stereo-small" / "state_dict.bin").write_bytes(b"garbage")
    models = ModelCache(WeightStore(tmp_path), CPU, GB)
    small = get(models, "small")
    with pytest.raises(WeightsError):
        get(models, "stereo-small")
    assert models.names() == ["small"]
    assert get(models, "small") is small
    shutil.copy(weights / "stereo-small" / "state_dict.bin", tmp_path / "stereo-small")
    assert get(models, "stereo-small").channels == 2


def test_clear_evicts_all_models(store: WeightStore) -> None:
    models = ModelCache(store, CPU, GB)
    get(models, "small")
    models.clear()
    assert models.names() == []


def test_model_in_use_is_not_evicted_and_others_wait_for_it(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "stereo-small"))
    order: list[str] = []

    def use(name: str) -> None:
        with models.lease(name):
            order.append(name)

    with ThreadPoolExecutor(2) as pool, models.lease("small"), models.lease("stereo-small") as used:
        waiting = pool.submit(use, "melody")
        wait_until(lambda: bool(models._waiting))
        # It waits behind that one, though its model is loaded: otherwise a busy model could keep others out for ever.
        later = pool.submit(use, "small")
        time.sleep(0.3)
        assert models.names() == ["small", "stereo-small"] and models.checkpoints()[1] is used and not order
    waiting.result()
    later.result()
    assert order == ["melody", "small"] and "melody" in models.names()


def test_a_thread_does_not_wait_for_what_it_uses_itself(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small"))
    with models.lease("small"):
        with pytest.raises(ModelTooLarge, match=r"^'melody' has no room beside 'small', which is streaming: end the"):
            get(models, "melody")
        get(models, "small")
    get(models, "melody")


def test_a_thread_that_uses_a_model_does_not_wait_behind_those_that_wait_for_it(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small"))
    with ThreadPoolExecutor(1) as pool:
        with models.lease("small") as small:
            waiting = pool.submit(get, models, "melody")
            wait_until(lambda: bool(models._waiting))
            assert get(models, "small") is small
            with pytest.raises(ModelTooLarge, match=r"^'melody' has no room beside 'small', which is streaming"):
                get(models, "melody")
        assert waiting.result().name == "melody"


def test_of_threads_that_wait_for_each_other_one_is_refused(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "stereo-small"))
    both = threading.Barrier(2)

    def use(name: str) -> bool:
        with models.lease(name):
            both.wait(60)
            try:
                return get(models, "melody").name == "melody"
            except ModelTooLarge:
                return False

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(use, ["small", "stereo-small"])) == [False, True]


def test_loaded_model_is_used_while_another_is_loading(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache(store, CPU, GB)
    small = get(models, "small")
    loading_now, resume = threading.Event(), threading.Event()
    load_model = loading.load_model

    def slow(*arguments: Any) -> MusicGenModel:
        loading_now.set()
        assert resume.wait(60)
        return load_model(*arguments)

    monkeypatch.setattr(loading, "load_model", slow)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, models, "melody") for _ in range(2)]
        assert loading_now.wait(60)
        assert get(models, "small") is small
        resume.set()
        assert both[0].result() is both[1].result()


def test_thread_that_ends_without_returning_a_model_does_not_keep_it(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "stereo-small"))
    leases = []

    def leave_open() -> None:
        leases.append(models.lease("small"))
        leases[0].__enter__()

    thread = threading.Thread(target=leave_open)
    thread.start()
    thread.join()
    assert get(models, "stereo-small").channels == 2 and models.names() == ["stereo-small"]


def test_parts_count_and_are_evicted_but_do_not_wait(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small") + 1000)
    with models.lease_part("separator", 2000, object):
        pass
    with models.lease("small"):
        assert models.names() == ["small"]
        with models.lease_part("tracker", 2000, object) as first, models.lease_part("tracker", 2000, object) as second:
            assert first is second and models.names() == ["small", "tracker"]
    get(models, "small")
    models.clear()
    assert models.names() == []


def test_recordings_count_while_a_request_holds_them(store: WeightStore) -> None:
    models = ModelCache(store, CPU, _size(store, "small", "stereo-small") + 1000)
    get(models, "stereo-small")
    with models.lease("small"):
        free = models.memory.free
        with models.hold_inputs(free):
            assert models.names() == ["stereo-small", "small"] and models.memory.free == 0
            # One more byte: what is not in use leaves, and what is in use stays.
            with models.hold_inputs(1):
                assert models.names() == ["small"] and models.memory.parts["inputs"] == free + 1
            assert models.memory.parts["inputs"] == free
        assert "inputs" not in models.memory.parts
    assert models.names() == ["small"]


def test_recordings_of_a_thread_that_ended_do_not_count(store: WeightStore) -> None:
    models = ModelCache(store, CPU, GB)
    left = threading.Thread(target=models.hold_inputs(1000).__enter__)
    left.start()
    left.join()
    with models.hold_inputs(10):
        assert models.memory.parts == {"inputs": 10}


def test_recordings_take_no_memory_of_a_gpu(store: WeightStore) -> None:
    models = ModelCache(store, torch.device("cuda"), GB)
    with models.hold_inputs(1000):
        assert models.memory.parts == {}


def test_slots_count_until_their_model_is_idle(store: WeightStore, monkeypatch: pytest.MonkeyPatch) -> None:
    models = ModelCache(store, CPU, GB)
    step, busy = Slots.step, list[int]()

    def watched(slots: Slots) -> list[int]:
        busy.append(models._budget.free)
        return step(slots)

    monkeypatch.setattr(Slots, "step", watched)
    with models.lease("small") as model:
        idle = models._budget.free
        generate(model, Condition("rock"), 10)
        wait_until(lambda: models._budget.free == idle)
    assert busy and busy[0] < idle
