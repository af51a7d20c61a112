"""The four normalisation strategies match those of the reference systems."""

import tracemalloc

import numpy as np
import pyloudnorm
import pytest

from musicgen_service.audio import loudness
from musicgen_service.audio.lufs import integrated_loudness
from tests.support.sounds import RATE, drums, tone

STRATEGIES = ("loudness", "peak", "rms", "clip")


def lufs(samples: np.ndarray) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples.T.astype(float)))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("level", [0.01, 0.3, 1.0])
def test_loudness_is_minus_14_lufs(channels: int, level: float) -> None:
    result = loudness.normalise(tone(3, channels, amplitude=level), RATE, "loudness")
    assert lufs(result) == pytest.approx(-14.0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 32_000, 44_100, 96_000])
@pytest.mark.parametrize("seconds", [0.01, 0.3, 4.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_loudness_is_measured_as_by_pyloudnorm(rate: int, seconds: float, channels: int) -> None:
    count = round(rate * seconds)
    fading = np.linspace(0.3, 1e-4, count) ** 2  # the end is below the gates
    samples = (np.random.default_rng(0).standard_normal((channels, count)) * fading).astype(np.float32)
    meter = pyloudnorm.Meter(rate, block_size=min(0.4, seconds))
    expected = meter.integrated_loudness(samples.T.astype(float))
    assert integrated_loudness(samples, rate) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("count", [0, RATE])
def test_silence_has_no_loudness(count: int) -> None:
    assert integrated_loudness(np.zeros((1, count)), RATE) == -np.inf


def test_loudness_holds_when_peaks_are_clamped() -> None:
    result = loudness.normalise(drums(4), RATE, "loudness")
    assert np.abs(result).max() == 1.0
    assert lufs(result) == pytest.approx(-14.0, abs=0.1)


def test_noise_floors_are_not_raised() -> None:
    quiet = tone(2, amplitude=1e-3)
    assert np.array_equal(loudness.normalise(quiet, RATE, "loudness"), quiet)


def test_peak_is_minus_one_decibel() -> None:
    assert np.abs(loudness.normalise(tone(1, 2), RATE, "peak")).max() == pytest.approx(10 ** (-1 / 20), abs=1e-4)


def test_rms_of_the_mono_mix_is_minus_18_decibels() -> None:
    result = loudness.normalise(tone(1, 2), RATE, "rms")
    assert 20 * np.log10(np.sqrt(np.mean(result.mean(axis=0) ** 2))) == pytest.approx(-18, abs=0.01)


def test_clip_only_limits() -> None:
    loud = 3 * tone(1)
    ceiling = 10 ** (-1 / 20)
    result = loudness.normalise(loud, RATE, "clip")
    assert np.array_equal(result, np.clip(loud, -ceiling, ceiling).astype(np.float32))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("channels", [1, 2])
def test_shape_and_range_are_kept(strategy: str, channels: int) -> None:
    result = loudness.normalise(5 * drums(1, channels), RATE, strategy)
    assert result.shape == (channels, RATE) and result.dtype == np.float32
    assert np.abs(result).max() <= 1.0


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_silence_stays_silence(strategy: str) -> None:
    assert not loudness.normalise(np.zeros((1, RATE), np.float32), RATE, strategy).any()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("samples", [1, 640, 6400])
def test_clips_shorter_than_a_gating_block_are_handled(strategy: str, samples: int) -> None:
    result = loudness.normalise(tone(1)[:, :samples], RATE, strategy)
    assert result.shape == (1, samples) and np.isfinite(result).all()


def test_loudness_is_measured_in_parts() -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, (2, 60 * 44_100)).astype(np.float32)
    tracemalloc.start()
    integrated_loudness(samples, 44_100)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < samples.nbytes / 2
