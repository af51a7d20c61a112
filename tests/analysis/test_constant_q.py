"""Constant-Q transforms and tunings equal those of librosa."""

import librosa
import numpy as np
import pytest

from musicgen_service.analysis import constant_q, pitch
from tests.support.sounds import RATE, tone


def sound(seconds: float, rate: int) -> np.ndarray:
    """Noise that swells over two tones."""
    times = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).standard_normal(len(times)) * np.linspace(0, 1, len(times))
    return (noise + np.sin(2 * np.pi * 220 * times) + np.sin(2 * np.pi * 73 * times)).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "hop", "lowest", "octaves", "filter_scale"), [(22_050, 512, 53.9, 5, 0.6), (44_100, 4096, 32.703, 7, 1.0)]
)
@pytest.mark.parametrize("seconds", [0.02, 3.0, 4.001])
@pytest.mark.filterwarnings("ignore:n_fft=.* is too large:UserWarning")
def test_magnitudes_equal_librosa(
    rate: int, hop: int, lowest: float, octaves: int, filter_scale: float, seconds: float
) -> None:
    samples = sound(seconds, rate)
    expected = np.abs(
        librosa.cqt(
            samples,
            sr=rate,
            hop_length=hop,
            fmin=lowest,
            n_bins=36 * octaves,
            bins_per_octave=36,
            filter_scale=filter_scale,
            tuning=0.0,
        )
    )
    found = constant_q.magnitudes(samples, rate, hop, lowest, octaves, 36, filter_scale)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * expected.max())


@pytest.mark.parametrize("cents", [-45, -30, 20, 38])
def test_tuning_equals_librosa(cents: int) -> None:
    frequencies = [440 * 2 ** ((note + cents / 100) / 12) for note in (0, 4, 7, 12)]
    times = np.arange(3 * RATE) / RATE
    samples = np.sin(2 * np.pi * np.outer(frequencies, times)).sum(axis=0).astype(np.float32)
    pitches, strengths = librosa.piptrack(y=samples, sr=RATE)
    strong = strengths >= np.median(strengths[strengths > 0])
    assert pitch.tuning_of(samples, RATE) == pytest.approx(librosa.pitch_tuning(pitches[strong]), abs=1e-9)


@pytest.mark.parametrize("samples", [np.zeros(RATE, np.float32), tone(1)[0]], ids=["silence", "concert pitch"])
def test_what_is_in_tune_has_no_tuning(samples: np.ndarray) -> None:
    assert pitch.tuning_of(samples, RATE) == 0
