"""Every precision stays close to float32; the setting and the device determine which one is used."""

import json

import pytest
import torch

from bench import quality
from musicgen_service.engine import precision
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition
from musicgen_service.engine.linear import Fp16Linear, Int8Linear
from musicgen_service.engine.precision import Precision
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import precision_check
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from musicgen_service.settings import SettingsError
from tests.engine.conftest import KINDS, Pair, load
from tests.support.tokens import generate

GUIDANCE = 3.0
TOLERANCE = {"exact": 2e-5, "int8": 0.08}
"""Of guided logits, whose spread is about 0.7 in these networks."""


def tokens_for(model: MusicGenModel) -> torch.Tensor:
    return torch.randint(0, 128, (4 * model.channels, 50), generator=torch.Generator().manual_seed(3))


def scores(model: MusicGenModel, melody: torch.Tensor | None) -> torch.Tensor:
    engine = model.generator
    assert isinstance(engine, Engine)
    return engine.score(Condition("a rock song", melody), tokens_for(model), GUIDANCE)


@torch.no_grad()
def reference_scores(pair: Pair) -> torch.Tensor:
    """The same scores from audiocraft's own teacher-forced pass: [codebooks, frames, card]."""
    model = pair.reference
    conditions = [Condition("a rock song", pair.melody), Condition()]
    tensors = pair.lm.condition_provider([adapter.attributes(condition) for condition in conditions])
    twice = tokens_for(model).expand(2, -1, -1)
    conditional, unconditional = pair.lm.compute_predictions(twice, [], tensors).logits
    logits: torch.Tensor = unconditional + (conditional - unconditional) * GUIDANCE
    return logits


@pytest.mark.parametrize("kind", KINDS)
def test_exact_logits(pairs: dict[str, Pair], kind: str) -> None:
    expected = reference_scores(pairs[kind])
    actual = scores(pairs[kind].model, pairs[kind].melody)
    # audiocraft leaves the last frames of delayed codebooks out.
    known = ~expected.isnan()
    assert known.float().mean() > 0.9
    torch.testing.assert_close(actual[known], expected[known], atol=TOLERANCE["exact"], rtol=0)


@pytest.mark.parametrize("kind", ["small", "stereo-melody"])
def test_logits_stay_close(store: WeightStore, pairs: dict[str, Pair], kind: str) -> None:
    expected = scores(pairs[kind].model, pairs[kind].melody)
    actual = scores(load(store, kind, precision="int8"), pairs[kind].melody)
    assert 1e-4 < (actual - expected).abs().max() < TOLERANCE["int8"]


def test_the_shipped_checkpoint_keeps_its_quality(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["quality", "--checkpoint", "demo", "--frames", "100"])
    quality.main()
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures.keys() == {"int8"}
    for found in figures.values():
        assert found["kl"] <= precision_check.MAX_NATS
        assert found["agreement"] >= precision_check.MIN_AGREEMENT


def test_the_same_request_gives_the_same_tokens(store: WeightStore) -> None:
    model = load(store, "small", precision="int8")
    assert torch.equal(*(generate(model, Condition("jazz"), 30, seed=6) for _ in range(2)))


def test_setting_and_device_determine_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUSICGEN_PRECISION", raising=False)
    assert precision.choose(torch.device("cpu")) is Precision.EXACT
    assert precision.choose(torch.device("cuda")) is Precision.HALF
    monkeypatch.setenv("MUSICGEN_PRECISION", "int8")
    assert precision.choose(torch.device("cpu")) is Precision.INT8
    for name in ("half", "bf16"):
        monkeypatch.setenv("MUSICGEN_PRECISION", name)
        with pytest.raises(SettingsError, match=f"{name} is not for a cpu device, which has one of exact, .*auto"):
            precision.choose(torch.device("cpu"))
    monkeypatch.setenv("MUSICGEN_PRECISION", "bf16")
    assert precision.choose(torch.device("cuda")) is Precision.BF16


def test_int8_requires_fbgemm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_PRECISION", "int8")
    monkeypatch.setattr(precision, "_has_fbgemm", lambda: False)
    with pytest.raises(SettingsError, match="int8 is for x86"):
        precision.choose(torch.device("cpu"))


def test_weights_that_float16_would_change_stay_in_float32() -> None:
    numerics = precision.Numerics(Precision.EXACT, torch.device("cpu"))
    weight = torch.randn(64, 64)
    rows = torch.randn(2, 64)
    torch.testing.assert_close(numerics.pack_weight(weight)(rows), rows @ weight.T, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("uneven", "form"), [(0, Int8Linear), (30, Int8Linear), (50, Fp16Linear)])
def test_matrix_too_uneven_for_int8_is_stored_in_float16(uneven: int, form: type) -> None:
    weight = torch.randn(64, 256, generator=torch.Generator().manual_seed(4)).half()
    weight[:uneven, 0] = 20.0
    assert isinstance(precision.Numerics(Precision.INT8, torch.device("cpu")).pack_weight(weight), form)
