"""The shipped checkpoint: size, format, and generation."""

from pathlib import Path

import pytest
import torch

from musicgen_service.engine.interface import Condition
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.support.tokens import generate

WEIGHTS = Path(__file__).parents[2] / "weights"


@pytest.fixture(scope="module")
def model() -> MusicGenModel:
    return load_model(WeightStore(WEIGHTS).checkpoint("demo"), torch.device("cpu"))


def test_it_is_small_enough_to_ship() -> None:
    sizes = [path.stat().st_size for path in (WEIGHTS / "demo").rglob("*") if path.is_file()]
    assert sum(sizes) <= 25e6
    assert max(sizes) <= 15e6


@pytest.mark.parametrize("name", ["state_dict.bin", "compression_state_dict.bin"])
def test_it_is_in_audiocrafts_format_in_half_precision(name: str) -> None:
    package = torch.load(WEIGHTS / "demo" / name, weights_only=True)
    assert package["exported"]
    assert "sample_rate: 32000" in package["xp.cfg"]
    floats = [value for value in package["best_state"].values() if value.is_floating_point()]
    assert all(value.dtype == torch.float16 and value.isfinite().all() for value in floats)


def test_it_is_a_melody_model_of_four_codebooks_at_50_frames_a_second(model: MusicGenModel) -> None:
    assert (model.sample_rate, model.channels, model.frame_rate) == (32_000, 1, 50)
    assert model.config.decoder.codebooks == 4
    assert model.melody_span is not None
    assert model.window == 20 * 50


def test_it_generates_audible_music(model: MusicGenModel) -> None:
    codes = generate(model, Condition("120 bpm, rock guitar with drums, e minor"), 60)
    assert codes.shape == (4, 60)
    audio = model.decode(codes)
    assert audio.shape == (1, 60 * 640)
    assert audio.isfinite().all()
    assert audio.abs().max() > 0.01


def test_it_encodes_audio(model: MusicGenModel) -> None:
    time = torch.arange(32_000) / 32_000
    codes = model.encode(0.3 * torch.sin(2 * torch.pi * 440 * time)[None])
    assert codes.shape == (4, 50)
    assert codes.min() >= 0
    assert codes.max() < model.config.decoder.card
