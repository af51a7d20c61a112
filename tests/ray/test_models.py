"""Which model a prediction needs, and where that is cheapest to load."""

from collections.abc import Mapping
from typing import Any

import pytest

from deploy.ray_models import Needed, NeededModels
from deploy.ray_router import cost
from musicgen_service.serving.models import Model
from musicgen_service.serving.prediction_request import PredictionRequest

pytestmark = pytest.mark.ray

STYLED = "melody + style:0.5 (0123456789ab)"


def request(inputs: Mapping[str, Any], system: str | None = None) -> PredictionRequest:
    return PredictionRequest(None, dict(inputs), None, (), Model("a/b", system=system))


def needed(text: str) -> Needed:
    return Needed.read(text)


def test_a_named_checkpoint_is_needed() -> None:
    models = NeededModels()
    assert str(models.of(request({"model_version": "melody"}))) == "melody"
    assert str(models.of(request({"model_version": "melody", "adapter": "b:0.5+a"}))) == "melody + a:1 + b:0.5"
    assert str(models.of(request({"prompt": "a"}))) == str(models.of(request({"model_version": "auto"}))) == "?"


def test_what_replicas_choose_is_learnt() -> None:
    models = NeededModels()
    models.learn(request({"prompt": "a"}), {"model": "large"})
    models.learn(request({"model_version": "large"}, system="meta_musicgen"), {"model": "demo"})
    assert str(models.of(request({"prompt": "b"}))) == "large"
    assert str(models.of(request({"input_audio": "data:,x"}))) == "?"  # which may need another one
    assert str(models.of(request({"model_version": "large"}, system="meta_musicgen"))) == "demo"
    assert str(models.of(request({"model_version": "large"}))) == "large"
    models.learn(request({"prompt": "c"}), {})
    assert str(models.of(request({"prompt": "b"}))) == "large"


def test_the_base_of_an_adapter_is_learnt() -> None:
    models = NeededModels()
    models.learn(request({"prompt": "a"}), {"model": "large"})
    assert str(models.of(request({"adapter": "style"}))) == "? + style:1"
    models.learn(request({"adapter": "style"}), {"model": "melody"})
    assert str(models.of(request({"adapter": "style:0.5"}))) == "melody + style:0.5"
    assert str(models.of(request({"adapter": "style:0"}))) == "melody"
    assert str(models.of(request({"prompt": "a"}))) == "large"
    assert str(models.of(request({"adapter": "no such: form"}))) == "large"  # refused by the replica


@pytest.mark.parametrize("weights", ["style", "https://example.com/v1/trainings/0/style.zip?a=b"])
def test_the_weights_of_the_fine_tuner_are_an_adapter(weights: str) -> None:
    models = NeededModels()
    asked = request({"prompt": "a", "replicate_weights": weights}, system="musicgen_fine_tuner")
    assert str(models.of(asked)) == "? + style:1"
    models.learn(asked, {"model": "melody"})
    assert str(models.of(asked)) == "melody + style:1"
    assert str(models.of(request({"prompt": "a"}, system="musicgen_fine_tuner"))) == "?"


@pytest.mark.parametrize("text", ["?", "demo", "demo + a:1", "demo + a:0.5 + b:2", "? + a:1"])
def test_it_is_read_as_it_is_written(text: str) -> None:
    assert str(Needed.read(text)) == text


@pytest.mark.parametrize(
    ("wanted", "best_first"),
    [
        ("melody + style:0.5", [[STYLED, "melody"], ["melody"], [], ["small"]]),
        ("melody", [["melody"], [], ["small"], ["small", "large"]]),
        ("? + style:0.5", [["melody", STYLED], [], ["melody"]]),  # nobody has told its base yet
        ("melody + style:0.7", [["melody", STYLED], [], ["small"]]),
    ],
)
def test_replicas_are_asked_in_the_order_of_what_they_would_load(wanted: str, best_first: list[list[str]]) -> None:
    costs = [cost(needed(wanted), {"loaded": loaded}) for loaded in best_first]
    assert costs == sorted(set(costs))


def test_what_is_being_loaded_counts() -> None:
    running = {"loaded": [], "running": ["melody + style:1"]}
    assert cost(needed("melody + style:1"), running) == (0, 0)
    assert cost(needed("melody + other:1"), running) == (1, 0)
    assert cost(needed("small"), running) == (2, 0)


def test_without_a_model_all_are_alike() -> None:
    assert cost(needed("?"), {"loaded": ["melody"]}) == cost(needed("?"), {})
