"""Chords reach a melody checkpoint as the chroma it would read from a waveform."""

from typing import Any

import pytest
import torch

from musicgen_service.engine.interface import Conditioning, Sampling
from musicgen_service.models import audiocraft_door as door
from musicgen_service.models.loading import MusicModel, load_model
from musicgen_service.models.store import WeightStore
from tests.audio.sounds import tone


@pytest.fixture(scope="module", params=["melody", "stereo-melody"])
def model(request: pytest.FixtureRequest, store: WeightStore) -> MusicModel:
    return load_model(request.param, store, torch.device("cpu"))


def prefix(model: MusicModel, conditions: Any) -> torch.Tensor:
    seen: Conditioning = door.conditioning(model.lm, conditions)
    assert seen.prefix is not None
    return seen.prefix


def triad(model: MusicModel, value: float = 1.0) -> torch.Tensor:
    chroma = torch.zeros(12, model.melody_span.frames)
    chroma[[0, 4, 7]] = value
    return chroma


def test_the_span_is_that_of_the_released_checkpoints(model: MusicModel) -> None:
    assert model.melody_span == (235, 30.0)


def test_the_chroma_of_a_waveform_conditions_as_the_waveform_does(model: MusicModel) -> None:
    wav = torch.from_numpy(tone(30))
    conditioner = model.lm.condition_provider.conditioners["self_wav"]
    chroma = conditioner.chroma(wav[None])[0, : model.melody_span.frames].T
    given, heard = model.chroma_conditions("jazz", chroma), model.conditions("jazz", wav)
    assert torch.equal(prefix(model, given), prefix(model, heard))


def test_its_value_matters_to_the_conditional_row_only(model: MusicModel) -> None:
    plain, strong = (prefix(model, model.chroma_conditions("jazz", triad(model, value))) for value in (1.0, 2.0))
    assert not torch.equal(plain[0], strong[0])
    assert torch.equal(plain[1], strong[1])
    assert torch.equal(plain[1], prefix(model, model.conditions("jazz", None))[1])


def test_every_pitch_class_of_a_chord_is_heard(model: MusicModel) -> None:
    whole = prefix(model, model.chroma_conditions(None, triad(model)))
    for pitch_class in (0, 4, 7):
        less = triad(model)
        less[pitch_class] = 0
        assert not torch.equal(prefix(model, model.chroma_conditions(None, less))[0], whole[0])
    silent = prefix(model, model.chroma_conditions(None, torch.zeros(12, model.melody_span.frames)))
    assert silent.shape == whole.shape and not torch.equal(silent[0], whole[0])


def test_waveforms_are_heard_as_before_after_a_chroma(model: MusicModel) -> None:
    wav = torch.from_numpy(tone(5))
    before = prefix(model, model.conditions("jazz", wav))
    prefix(model, model.chroma_conditions("jazz", triad(model)))
    assert torch.equal(prefix(model, model.conditions("jazz", wav)), before)


def test_audiocrafts_own_loop_hears_the_same_chords(
    model: MusicModel, store: WeightStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ENGINE", "reference")
    reference = load_model(model.name, store, torch.device("cpu"))
    tokens = []
    for either in (model, reference):
        torch.manual_seed(3)
        conditions = either.chroma_conditions("jazz", triad(either))
        tokens.append(either.generator.generate(conditions, None, 20, Sampling(), lambda _done, _of: None))
    assert torch.equal(*tokens)
