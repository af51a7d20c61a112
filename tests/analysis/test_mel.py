"""Mel spectra are bit-identical to those of librosa."""

import tracemalloc

import librosa
import numpy as np
import pytest

from musicgen_service.analysis import mel


@pytest.mark.parametrize(
    ("rate", "window", "hop", "highest"),
    [(32_000, 1024, 256, 12_000.0), (44_100, 1411, 353, 12_000.0), (16_000, 512, 128, 8_000.0), (1_500, 48, 12, 750.0)],
)
@pytest.mark.parametrize("shape", [(5_000,), (3, 4_001), (2, 100), (1_100_000,)])
def test_powers_equal_librosa(rate: int, window: int, hop: int, highest: float, shape: tuple[int, ...]) -> None:
    samples = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = librosa.feature.melspectrogram(
        y=samples, sr=rate, hop_length=hop, n_fft=window, n_mels=20, fmax=highest, norm=None
    )
    found = mel.powers(samples, rate, window, hop, 20, highest)
    assert found.dtype == np.float32 and np.array_equal(found, expected)


def test_filters_equal_librosa() -> None:
    samples = np.random.default_rng(0).standard_normal(50_000).astype(np.float32)
    spectrum = np.abs(librosa.stft(samples, n_fft=1024, hop_length=256))
    assert np.array_equal(mel.magnitudes(samples, 1024, 256), spectrum)
    triangles = librosa.filters.mel(sr=22_050, n_fft=1024, n_mels=96, fmin=30.0, fmax=10_500.0, norm=None)
    found = mel.filters(22_050, 1024, 96, 30.0, 10_500.0)
    assert np.array_equal(found, triangles)
    assert np.array_equal(found @ mel.magnitudes(samples, 1024, 256), triangles @ spectrum)
    assert np.array_equal(mel.frequencies(98, 30.0, 10_500.0), librosa.mel_frequencies(98, fmin=30.0, fmax=10_500.0))


def test_a_minute_is_transformed_in_parts() -> None:
    samples = np.zeros(60 * 22_050, np.float32)
    tracemalloc.start()
    spectrum = mel.magnitudes(samples, 2048, 512)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < spectrum.nbytes + samples.nbytes + 25e6  # transformed at once it takes 106 MB
