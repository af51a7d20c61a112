"""The networks that the engine is raced with predict what it predicts, in float32 and on the same weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from bench.peers.exported import ConvertedNetwork, DecoderModule, join, split, text_keys_values
from bench.peers.interface import Network
from bench.peers.loaded import Audiocraft, Ours
from bench.peers.stepwise import Stepwise
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, ConditionTensors, Sampling
from musicgen_service.engine.pattern import DelayPattern
from tests.engine.conftest import Pair
from tests.support.tokens import generate

CONDITION = Condition("a fast jazz song with piano")
CPU = torch.device("cpu")
LIKELIEST = Sampling(temperature=0.0, guidance=3.0)
ROOM = 1600

MakeNetwork = Callable[[Any, ConditionTensors, Path], Network]


def attend(
    projected: torch.Tensor, heads: int, past_keys: torch.Tensor, past_values: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    queries, keys, values = split(projected, 3, heads)
    keys, values = torch.cat([past_keys, keys], dim=2), torch.cat([past_values, values], dim=2)
    return join(functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)), keys, values


class Unconverted(ConvertedNetwork):
    """The module that is converted, run by torch."""

    def __init__(self, lm: Any, condition: ConditionTensors) -> None:
        super().__init__(lm, condition)
        self.module = DecoderModule(lm, attend)
        self.text = text_keys_values(lm, condition)
        self._forget()

    def _forget(self) -> None:
        heads, width = self.module.heads, self.module.dim // self.module.heads
        self.past = [torch.zeros(2, heads, 0, width)] * (2 * len(self.module.layers))

    def _run(self, x: torch.Tensor, taken: int) -> torch.Tensor:
        mask = torch.full((x.shape[1], taken + x.shape[1]), -torch.inf).triu(taken + 1)
        logits, *self.past = self.module(x, self.text, *self.past, mask)
        return logits


def unconverted(lm: Any, condition: ConditionTensors, _folder: Path) -> Network:
    return Unconverted(lm, condition)


def in_transformers(lm: Any, condition: ConditionTensors, _folder: Path) -> Network:
    from bench.peers.transformers import TransformersNetwork

    return TransformersNetwork(lm, condition, torch.float32)


def in_openvino(lm: Any, condition: ConditionTensors, folder: Path) -> Network:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    from bench.peers import openvino

    openvino.export(lm, folder / "network.xml")
    return openvino.OpenVinoNetwork(lm, condition, folder / "network.xml", "float32", 1)


def in_onnx_runtime(lm: Any, condition: ConditionTensors, folder: Path) -> Network:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from bench.peers import onnx_runtime

    onnx_runtime.export(lm, folder / "network.onnx", ROOM)
    return onnx_runtime.OnnxRuntimeNetwork(lm, condition, folder / "network.onnx", "float32", 1)


@pytest.fixture(params=[unconverted, in_transformers, in_openvino, in_onnx_runtime])
def make_network(request: pytest.FixtureRequest) -> MakeNetwork:
    made: MakeNetwork = request.param
    return made


def peer_of(pair: Pair, make_network: MakeNetwork, folder: Path, sampling: Sampling) -> Stepwise:
    assert isinstance(pair.model.generator, Engine)
    network = make_network(pair.lm, pair.model.generator.to_tensors(CONDITION), folder)
    return Stepwise(network, DelayPattern(pair.model.config.delays, pair.lm.card), CPU, sampling)


@pytest.mark.parametrize("kind", ["small", "melody"])
def test_most_likely_tokens_and_predictions_are_ours(
    pairs: dict[str, Pair], kind: str, make_network: MakeNetwork, tmp_path: Path
) -> None:
    pair = pairs[kind]
    ours = generate(pair.model, CONDITION, 40, sampling=LIKELIEST)
    peer = peer_of(pair, make_network, tmp_path, LIKELIEST)
    assert torch.equal(peer.generate(None, 40, lambda *_: None), ours)
    # A clip after a clip, and from a prefix, which it takes in one step.
    assert torch.equal(peer.generate(ours[:, :25], 15, lambda *_: None), ours)
    assert isinstance(pair.model.generator, Engine)
    expected = pair.model.generator.score(CONDITION, ours, LIKELIEST.guidance)
    torch.testing.assert_close(peer.score(ours), expected, rtol=1e-4, atol=1e-4)


def test_steps_are_counted_after_the_prefix(pairs: dict[str, Pair], tmp_path: Path) -> None:
    peer = peer_of(pairs["small"], unconverted, tmp_path, Sampling())
    steps: list[tuple[int, int]] = []
    tokens = peer.generate(torch.zeros(4, 10, dtype=torch.int64), 20, lambda *step: steps.append(step))
    # The last codebook lags three frames behind the first.
    assert steps == [(step, 23) for step in range(1, 24)]
    assert tokens.shape == (4, 30) and tokens.max() < pairs["small"].lm.card and tokens.min() >= 0


def test_sampled_tokens_are_among_the_likeliest(pairs: dict[str, Pair], tmp_path: Path) -> None:
    peer = peer_of(pairs["small"], unconverted, tmp_path, Sampling(top_k=5))
    tokens = peer.generate(None, 30, lambda *_: None)
    likeliest = peer.score(tokens).topk(5).indices
    assert (likeliest == tokens[..., None]).any(-1).all()
    assert not torch.equal(tokens, likeliest[..., 0])


@pytest.mark.parametrize("kind", ["small", "melody"])
def test_our_steps_and_audiocraft_score_tokens_alike(pairs: dict[str, Pair], kind: str) -> None:
    pair = pairs[kind]
    tokens = torch.randint(0, pair.lm.card, (4, 30), generator=torch.Generator().manual_seed(1))
    assert isinstance(pair.model.generator, Engine) and CONDITION.text
    expected = pair.model.generator.score(CONDITION, tokens, Sampling().guidance)
    for peer in (Ours(pair.model, CONDITION.text), Audiocraft(pair.reference, CONDITION.text)):
        torch.testing.assert_close(peer.score(tokens), expected, rtol=1e-4, atol=1e-4)
