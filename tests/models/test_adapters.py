"""Adapters beside checkpoints: their folder, merging, the cache, and damaged ones."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models import adapter_exchange
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.cache import ModelCache
from musicgen_service.models.lora_options import CONFIG_FILE, WEIGHTS_FILE
from musicgen_service.models.manifest import MANIFEST
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.training import base, network, objective
from musicgen_service.training.network import PeftModel
from tests.support import adapters as random_adapters

CPU = torch.device("cpu")
CONDITION = Condition("a fast jazz song with piano")


@pytest.fixture(scope="module")
def own_store(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> WeightStore:
    """A weights folder with the session's checkpoints and adapters of its own."""
    folder = tmp_path_factory.mktemp("with-adapters")
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)
    return WeightStore(folder)


@pytest.fixture(scope="module")
def loras(own_store: WeightStore) -> dict[str, PeftModel]:
    """Adapters `one` and `two` of small, and `other` of stereo-melody."""
    made = {
        "one": random_adapters.random_lora(own_store, "small", 1),
        "two": random_adapters.random_lora(own_store, "small", 2, ("q_proj", "fc2")),
        "other": random_adapters.random_lora(own_store, "stereo-melody", 3),
    }
    for name, model in made.items():
        random_adapters.add(own_store, name, model)
    return made


@pytest.fixture
def cache(own_store: WeightStore, loras: dict[str, PeftModel]) -> ModelCache:
    return ModelCache(own_store, CPU, 10**9)


def tokens_of(model: MusicGenModel, seed: int = 5) -> torch.Tensor:
    request = SlotRequest(CONDITION, None, 40, Sampling(), torch.Generator().manual_seed(seed))
    [tokens] = model.generate_tokens([request], lambda _done, _total: None)
    return tokens


def scores_of(model: MusicGenModel, tokens: torch.Tensor) -> torch.Tensor:
    assert isinstance(model.generator, Engine)
    return model.generator.score(CONDITION, tokens, 1.0)


@pytest.mark.parametrize(("checkpoint", "name"), [("small", "one"), ("stereo-melody", "other")])
def test_merged_engine_predicts_what_peft_predicts(
    own_store: WeightStore,
    cache: ModelCache,
    loras: dict[str, PeftModel],
    checkpoint: str,
    name: str,
    tmp_path: Path,
) -> None:
    loaded = base.load(own_store, checkpoint, CPU)
    shape = loaded.config.decoder
    tokens = torch.randint(shape.card, (shape.codebooks, 80), generator=torch.Generator().manual_seed(0))
    with cache.lease(checkpoint, AdapterStore.of(own_store).apply([(name, 1.0)], checkpoint)) as model:
        ours = scores_of(model, tokens)
    with cache.lease(checkpoint) as model:
        plain = scores_of(model, tokens)
    condition = base.Conditions(loaded, tmp_path).row("a fast jazz song with piano")
    with torch.no_grad():
        logits = loras[name](objective.arrange(loaded.pattern, tokens[None])[..., :-1], condition)
    theirs = objective.frame_logits(loaded.pattern, logits, 80)[0]
    assert (ours - plain).abs().max() > 0.1
    assert (ours - theirs).abs().max() < 1e-4


def test_strength_zero_is_the_base(own_store: WeightStore, cache: ModelCache) -> None:
    store = AdapterStore.of(own_store)
    with cache.lease("small") as model:
        expected = tokens_of(model)
    with cache.lease("small", store.apply([("one", 0.0)], "small")) as model:
        assert torch.equal(tokens_of(model), expected)
    with cache.lease("small", store.apply([("one", 1.0)], "small")) as model:
        assert not torch.equal(tokens_of(model), expected)


def test_two_adapters_add_up_whatever_their_order(own_store: WeightStore, cache: ModelCache) -> None:
    store = AdapterStore.of(own_store)
    tokens = torch.zeros(4, 20, dtype=torch.int64)

    def scores(*named: tuple[str, float]) -> torch.Tensor:
        with cache.lease("small", store.apply(named, "small")) as model:
            return scores_of(model, tokens)

    both = scores(("one", 0.5), ("two", 1.0))
    torch.testing.assert_close(both, scores(("two", 1.0), ("one", 0.5)), atol=1e-4, rtol=0)
    assert (both - scores(("one", 0.5))).abs().max() > 0.01


def test_requests_with_different_adapters_at_once_each_have_their_own(
    own_store: WeightStore, cache: ModelCache
) -> None:
    store = AdapterStore.of(own_store)
    wanted = [[], [("one", 1.0)], [("one", 0.3)], [("two", 1.0)]]

    def make(named: list[tuple[str, float]]) -> torch.Tensor:
        with cache.lease("small", store.apply(named, "small")) as model:
            return tokens_of(model)

    alone = [make(named) for named in wanted]
    together: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda i=i, named=named: together.update({i: make(named)}))
        for i, named in enumerate(wanted * 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(together[i], alone[i % len(wanted)]) for i in range(len(threads)))
    assert len({tuple(tokens.flatten().tolist()) for tokens in alone}) == len(wanted)


def test_copies_with_adapters_leave_with_their_base_when_memory_runs_short(
    own_store: WeightStore, loras: dict[str, PeftModel]
) -> None:
    cache = ModelCache(own_store, CPU, 10**9)
    with cache.lease("small", AdapterStore.of(own_store).apply([("one", 1.0)], "small")):
        [_, label] = cache.names()
        assert label.startswith("small + one:1 (")
        cache.clear()
        assert cache.names() == ["small", label]  # in use
    cache.clear()
    assert cache.names() == [] and cache.memory.free == 10**9


def test_a_replaced_adapter_is_loaded_anew(own_store: WeightStore, cache: ModelCache) -> None:
    store = AdapterStore.of(own_store)
    random_adapters.add(own_store, "changing", random_adapters.random_lora(own_store, "small", 11))
    with cache.lease("small", store.apply([("changing", 1.0)], "small")) as model:
        before = tokens_of(model)
    store.remove("changing")
    random_adapters.add(own_store, "changing", random_adapters.random_lora(own_store, "small", 12))
    with cache.lease("small", store.apply([("changing", 1.0)], "small")) as model:
        assert not torch.equal(tokens_of(model), before)
    store.remove("changing")


def test_an_adapter_that_is_replaced_before_it_is_loaded_is_told(own_store: WeightStore, cache: ModelCache) -> None:
    store = AdapterStore.of(own_store)
    random_adapters.add(own_store, "changing", random_adapters.random_lora(own_store, "small", 11))
    applied = store.apply([("changing", 1.0)], "small")
    store.remove("changing")
    random_adapters.add(own_store, "changing", random_adapters.random_lora(own_store, "small", 12))
    with pytest.raises(WeightsError, match="Adapter 'changing' cannot be used"), cache.lease("small", applied):
        pass
    store.remove("changing")


def test_one_of_two_adapters_is_there_while_it_is_replaced(
    own_store: WeightStore, loras: dict[str, PeftModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AdapterStore.of(own_store)
    random_adapters.add(own_store, "changing", loras["one"])
    remove, seen = shutil.rmtree, list[bool]()

    def rmtree(path: Path, *, ignore_errors: bool = False) -> None:
        seen.append("changing" in store.names())
        remove(path, ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with store.adding("changing", source="a test", replace=True) as folder:
        network.save(loras["two"], network.weights_of(loras["two"]), folder)
    assert len(seen) == 2 and all(seen)
    store.remove("changing")


def test_an_adapter_of_another_base_is_refused(own_store: WeightStore, loras: dict[str, PeftModel]) -> None:
    with pytest.raises(WeightsError, match="'other' was trained on model 'stereo-melody', not on 'small'"):
        AdapterStore.of(own_store).apply([("other", 1.0)], "small")


def test_an_unknown_adapter_is_refused_with_a_suggestion(own_store: WeightStore, loras: dict[str, PeftModel]) -> None:
    with pytest.raises(WeightsError, match=r"no adapter 'ohter' \(did you mean 'other'\?\): present are one, other"):
        AdapterStore.of(own_store).get("ohter")


def damage_weights(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def truncate_weights(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-100])


def break_config(folder: Path) -> None:
    (folder / CONFIG_FILE).write_text("{")


def change_scale(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"lora_alpha": 16}))


def change_base(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"base_model_name_or_path": "somebody/else"}))


def spoil_alpha(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"lora_alpha": float("nan")}))
    (folder / MANIFEST).unlink()


def spoil_pattern(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"alpha_pattern": {"q_proj(": 8}}))
    (folder / MANIFEST).unlink()


DAMAGES = [damage_weights, truncate_weights, break_config, change_scale, change_base, spoil_alpha, spoil_pattern]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_adapter_is_refused_in_a_sentence(
    own_store: WeightStore, loras: dict[str, PeftModel], damage: Callable[[Path], None]
) -> None:
    store = AdapterStore.of(own_store)
    random_adapters.add(own_store, "broken", loras["one"])
    try:
        damage(store.root / "broken")
        with pytest.raises(WeightsError, match=r"^Adapter 'broken' cannot be used \(.+\): train or import it again\.$"):
            store.get("broken")
        assert [entry["name"] for entry in store.summaries() if "problem" in entry] == ["broken"]
    finally:
        store.remove("broken")


def test_what_is_not_complete_is_never_listed(own_store: WeightStore, loras: dict[str, PeftModel]) -> None:
    store = AdapterStore.of(own_store)
    with pytest.raises(RuntimeError), store.adding("half", source="a test") as folder:
        (folder / WEIGHTS_FILE).write_bytes(b"half")
        assert "half" not in store.names()
        raise RuntimeError
    assert "half" not in store.names()
    assert not [path for path in store.root.iterdir() if path.name.startswith(".")]


def test_what_a_killed_process_left_is_replaced(own_store: WeightStore, loras: dict[str, PeftModel]) -> None:
    store = AdapterStore.of(own_store)
    (store.root / ".late.partial" / "samples").mkdir(parents=True)
    (store.root / ".late.partial" / "left").write_bytes(b"half")
    (store.root / ".late.removed").mkdir()
    random_adapters.add(own_store, "late", loras["one"])
    assert {path.name for path in store.get("late").folder.iterdir()} == {CONFIG_FILE, WEIGHTS_FILE, MANIFEST}
    store.remove("late")
    assert not [path for path in store.root.iterdir() if path.name.startswith(".")]


def test_one_process_at_a_time_adds_an_adapter_of_a_name(own_store: WeightStore, loras: dict[str, PeftModel]) -> None:
    store = AdapterStore.of(own_store)
    with store.adding("shared", source="a test") as folder:
        with pytest.raises(WeightsError, match="Another process adds an adapter 'shared'"):
            random_adapters.add(own_store, "shared", loras["one"])
        (folder / CONFIG_FILE).write_text("{}")
    store.remove("shared")


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "x" * 65, "a+b", "a:b", "a b"])
def test_names_that_could_not_be_asked_for_are_refused(own_store: WeightStore, name: str) -> None:
    with pytest.raises(WeightsError, match="An adapter's name has 1 to 64"):
        AdapterStore.of(own_store).check_new(name, replace=False)


def test_an_exported_adapter_can_be_imported(
    own_store: WeightStore, loras: dict[str, PeftModel], tmp_path: Path
) -> None:
    store = AdapterStore.of(own_store)
    adapter_exchange.export(store.get("one"), tmp_path / "one.zip")
    imported = adapter_exchange.import_(own_store, tmp_path / "one.zip", "copy", None)
    assert (imported.base, imported.sha256) == ("small", store.get("one").sha256)
    store.remove("copy")


def test_a_damaged_zip_is_refused_in_a_sentence(
    own_store: WeightStore, loras: dict[str, PeftModel], tmp_path: Path
) -> None:
    adapter_exchange.export(AdapterStore.of(own_store).get("one"), path := tmp_path / "one.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"one\.zip is no whole zip"):
        adapter_exchange.import_(own_store, path, "copy", None)


def test_a_file_of_a_zip_that_is_too_large_is_told(
    own_store: WeightStore, loras: dict[str, PeftModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter_exchange.export(AdapterStore.of(own_store).get("one"), tmp_path / "one.zip")
    monkeypatch.setitem(adapter_exchange._MAX_BYTES, WEIGHTS_FILE, 1000)
    with pytest.raises(WeightsError, match=rf"{WEIGHTS_FILE} is larger than"):
        adapter_exchange.import_(own_store, tmp_path / "one.zip", "copy", None)


def test_import_refuses_what_does_not_fit_the_base(
    own_store: WeightStore, loras: dict[str, PeftModel], tmp_path: Path
) -> None:
    store = AdapterStore.of(own_store)
    folder = tmp_path / "foreign"
    folder.mkdir()
    network.save(loras["one"], network.weights_of(loras["one"]), folder)
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"base_model_name_or_path": "/home/somebody/model"}))
    with pytest.raises(WeightsError, match=r"does not say which of small, .* it was trained on: say it with --base"):
        adapter_exchange.import_(own_store, folder, "foreign", None)
    (folder / CONFIG_FILE).write_text(
        json.dumps(config | {"base_model_name_or_path": "facebook/musicgen-stereo-melody"})
    )
    with pytest.raises(WeightsError, match="cannot be imported: its matrices do not have the sizes of this model's"):
        adapter_exchange.import_(own_store, folder, "foreign", None)
    assert "foreign" not in store.names()
