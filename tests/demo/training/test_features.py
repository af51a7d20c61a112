"""Phase-free features of tones and drums."""

import pytest
import torch

from demo.synth import SAMPLE_RATE
from demo.training import features
from demo.training.songs import codec_clips


def test_a_tone_is_measured_whatever_its_phase() -> None:
    time = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
    first, second = (0.3 * torch.sin(2 * torch.pi * 440 * time + phase) for phase in (0.0, 1.0))
    silence = torch.zeros(1, SAMPLE_RATE)
    a, b = (features.features(silence, wave[None])[0, 25, features.BANDS :] for wave in (first, second))
    loudest = int(a.argmax())
    assert features.LOW_TONES[0] + loudest == 69
    assert torch.expm1(a[loudest]) * features.KNEE == pytest.approx(0.3, rel=0.02)
    assert torch.allclose(a, b, atol=0.05)


def test_the_bands_measure_drums_and_nothing_else() -> None:
    drums, others = codec_clips(0, 4, 2.0)
    quiet = features.features(torch.zeros_like(drums), others)
    loud = features.features(drums, others)
    bands, tones = slice(0, features.BANDS), slice(features.BANDS, None)
    assert quiet[..., bands].max() < 0.1 * loud[..., bands].max()
    assert torch.equal(quiet[..., tones], loud[..., tones])
