"""The network that is trained: its predictions are the engine's, and what an adapter of it takes."""

from pathlib import Path

import pytest
import torch

from demo.training.export import LOGIT_SCALE
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition
from musicgen_service.engine.weights import DecoderShape
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.checkpoint_config import LanguageModelConfig
from musicgen_service.models.store import WeightStore
from musicgen_service.training import base, network, objective
from musicgen_service.training import options as training_options
from musicgen_service.training.network import Network

TEXT = "a fast jazz song with piano"


@pytest.mark.parametrize("checkpoint", ["small", "stereo-melody"])
def test_network_predicts_what_the_engine_predicts(store: WeightStore, checkpoint: str, tmp_path: Path) -> None:
    loaded = base.load(store, checkpoint, torch.device("cpu"))
    shape = loaded.config.decoder
    tokens = torch.randint(shape.card, (shape.codebooks, 60), generator=torch.Generator().manual_seed(0))
    columns = objective.arrange(loaded.pattern, tokens[None])
    with torch.no_grad():
        logits = loaded.network()(columns[..., :-1], base.Conditions(loaded, tmp_path).row(TEXT))
    assert isinstance(loaded.model.generator, Engine)
    expected = loaded.model.generator.score(Condition(TEXT), tokens, 1.0)
    assert (objective.frame_logits(loaded.pattern, logits, 60)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize("checkpoint", ["small", "stereo-melody"])
def test_texts_are_computed_once(
    store: WeightStore, checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = base.load(store, checkpoint, torch.device("cpu"))
    first = base.Conditions(loaded, tmp_path)
    expected = [first.row(TEXT), first.row(TEXT, dropped=True)]
    assert not torch.equal(expected[0][:, -1:], expected[1][:, -1:])
    monkeypatch.setattr(loaded.conditioner, "tensors", None)
    again = base.Conditions(loaded, tmp_path)
    assert all(map(torch.equal, [again.row(TEXT), again.row(TEXT, dropped=True)], expected))


def test_only_weights_that_are_not_trained_leave_the_device(
    store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = network.with_adapter(base.load(store, "small", torch.device("cpu")).network(), 4, 8, ("q_proj",))
    before = {name: parameter.dtype for name, parameter in model.named_parameters()}
    # Without a GPU there is no other device: another dtype stands for it.
    monkeypatch.setattr(torch.Tensor, "cpu", torch.Tensor.half)
    with network.off_device(model):
        moved = {parameter.dtype: parameter.requires_grad for parameter in model.parameters()}
        assert moved == {torch.float16: False, torch.float32: True}
        monkeypatch.setattr(torch.Tensor, "to", lambda tensor, _: tensor.float())
    assert {name: parameter.dtype for name, parameter in model.named_parameters()} == before


def test_logits_of_the_demo_are_taken_back_as_they_were_scaled() -> None:
    assert CHECKPOINTS["demo"].logit_scale == LOGIT_SCALE


def test_an_adapter_of_large_has_at_most_60_megabytes() -> None:
    large = LanguageModelConfig(
        decoder=DecoderShape(2048, 32, 48, 8192, 4, 2048, True),
        delays=(0, 1, 2, 3),
        window=30.0,
        text_encoder="t5-base",
        chroma=None,
        is_stereo=False,
        codec_codebooks=None,
    )
    values = training_options.defaults("large")
    with torch.device("meta"):
        decoder = Network(network.empty(large).requires_grad_(False), "large")
        model = network.with_adapter(decoder, values["rank"], values["alpha"], values["targets"])
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert 50e6 < 2 * trained <= 60e6  # in half precision
