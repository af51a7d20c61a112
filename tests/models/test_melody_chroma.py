"""Melody chroma equals that of audiocraft, which uses torchaudio's spectrogram and librosa's filters."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import musicgen_service.models.audiocraft_imports  # noqa: F401  (must come before audiocraft)

# isort: split
import librosa
from audiocraft.modules.chroma import ChromaExtractor

from musicgen_service.models.chroma import Chroma, ChromaOptions, filter_bank
from tests.support.sounds import drums, tone

RATE = 32_000
SOUNDS: dict[str, Callable[[], np.ndarray]] = {
    "a chord": lambda: tone(3)[0],
    "drums": lambda: drums(3)[0],
    "noise": lambda: np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32),
    "shorter than a window": lambda: tone(0.2)[0],
    "one sample": lambda: np.zeros(1, np.float32),
    "an odd length": lambda: tone(1.23457)[0],
}


@pytest.mark.parametrize(("rate", "size", "classes"), [(32_000, 16_384, 12), (44_100, 4_096, 12), (22_050, 1_024, 24)])
def test_filters_equal_those_of_librosa(rate: int, size: int, classes: int) -> None:
    expected = librosa.filters.chroma(sr=rate, n_fft=size, tuning=0, n_chroma=classes)
    actual = filter_bank(rate, size, classes)
    assert actual.dtype == np.float32 and actual.flags.c_contiguous
    np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=1e-12)


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("strongest_only", [True, False])
def test_chroma_equals_that_of_audiocraft(sound: str, strongest_only: bool) -> None:
    theirs = ChromaExtractor(RATE, 12, 14, argmax=strongest_only)
    ours = Chroma(ChromaOptions(RATE, 12, 2**14, strongest_only), torch.device("cpu"))
    ours.load_state_dict({"window": theirs.spec.window.half()})
    theirs.spec.window.copy_(theirs.spec.window.half())  # as released checkpoints store it
    waveform = torch.from_numpy(SOUNDS[sound]())
    expected, actual = theirs(waveform[None])[0], ours(waveform)
    assert actual.shape == expected.shape == (ours.options.frames(len(waveform)), 12)
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=0)
    if strongest_only:
        assert torch.equal(actual, expected)
        assert torch.equal(actual.sum(1), torch.ones(len(actual)))


def test_pitch_a_has_pitch_class_a() -> None:
    ours = Chroma(ChromaOptions(RATE, 12, 2**14, True), torch.device("cpu"))
    ours.load_state_dict({"window": torch.hann_window(2**14)})
    for octave in (110, 220, 440, 880):
        waveform = torch.sin(2 * torch.pi * octave * torch.arange(RATE) / RATE)
        assert set(ours(waveform).argmax(1).tolist()) == {9}
