"""Conditioning by chroma is equivalent to conditioning by a waveform."""

from typing import Any

import pytest
import torch

from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition
from musicgen_service.models.chroma import Chroma, ChromaOptions
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.support.sounds import tone
from tests.support.tokens import generate

FRAMES = 235


@pytest.fixture(scope="module", params=["melody", "stereo-melody"])
def model(request: pytest.FixtureRequest, store: WeightStore) -> MusicGenModel:
    return load_model(store.checkpoint(request.param), torch.device("cpu"))


def prefix(model: MusicGenModel, conditions: Any) -> torch.Tensor:
    assert isinstance(model.generator, Engine)
    tensors = model.generator.to_tensors(conditions)
    assert tensors.prefix is not None
    return tensors.prefix


def triad(value: float = 1.0) -> torch.Tensor:
    chroma = torch.zeros(12, FRAMES)
    chroma[[0, 4, 7]] = value
    return chroma


def test_melody_span_equals_that_of_released_checkpoints(model: MusicGenModel) -> None:
    assert model.melody_span == (FRAMES, 30.0)


def test_chroma_of_a_waveform_is_equivalent_to_the_waveform(model: MusicGenModel) -> None:
    wav = torch.from_numpy(tone(30))
    compute = Chroma(ChromaOptions(32_000, 12, 2**14, strongest_only=True), torch.device("cpu"))
    compute.load_state_dict({"window": torch.hann_window(2**14).half()})
    chroma = compute(wav[0])[:FRAMES].T
    assert torch.equal(prefix(model, Condition("jazz", chroma=chroma)), prefix(model, Condition("jazz", wav)))


def test_chroma_affects_the_conditional_row_only(model: MusicGenModel) -> None:
    plain, strong = (prefix(model, Condition("jazz", chroma=triad(value))) for value in (1.0, 2.0))
    assert not torch.equal(plain[0], strong[0])
    assert torch.equal(plain[1], strong[1])
    assert torch.equal(plain[1], prefix(model, Condition("jazz", None))[1])


def test_every_pitch_class_of_a_chord_has_an_effect(model: MusicGenModel) -> None:
    complete = prefix(model, Condition(None, chroma=triad()))
    for pitch_class in (0, 4, 7):
        incomplete = triad()
        incomplete[pitch_class] = 0
        assert not torch.equal(prefix(model, Condition(None, chroma=incomplete))[0], complete[0])
    silent = prefix(model, Condition(None, chroma=torch.zeros(12, FRAMES)))
    assert silent.shape == complete.shape and not torch.equal(silent[0], complete[0])


def test_chroma_does_not_affect_later_waveforms(model: MusicGenModel) -> None:
    wav = torch.from_numpy(tone(5))
    before = prefix(model, Condition("jazz", wav))
    prefix(model, Condition("jazz", chroma=triad()))
    assert torch.equal(prefix(model, Condition("jazz", wav)), before)


def test_reference_loop_gives_the_same_tokens_from_chroma(
    model: MusicGenModel, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")
    reference = load_model(store.checkpoint(model.name), torch.device("cpu"))
    condition = Condition("jazz", chroma=triad())
    assert torch.equal(*(generate(either, condition, 20, seed=3) for either in (model, reference)))
