"""Encoding of sound of which more is to come."""

import io

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import streamed
from tests.support.sounds import RATE, drums, tone


def sound(channels: int) -> np.ndarray:
    """Two seconds, with another sound on each side."""
    return np.concatenate([tone(2), drums(2)])[:channels].astype(np.float32)


def encoded(output_format: str, samples: np.ndarray) -> list[bytes]:
    """What comes of pieces of 0.2, 0.5 and 1.3 s, and of the end."""
    encoder = streamed.encoder(output_format, samples.shape[1], RATE, len(samples))
    pieces = np.split(samples, [RATE // 5, 7 * RATE // 10], axis=1)
    return [*map(encoder.encode, pieces), encoder.end()]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("output_format", ["wav", "flac", "ogg"])
def test_wav_has_its_length_in_its_header(channels: int, output_format: str) -> None:
    given = sound(channels)
    parts = encoded(output_format, given)
    assert [len(part) for part in parts] == [44 + 6400 * 2 * channels, 32_000 * channels, 83_200 * channels, 0]
    assert streamed.encoder(output_format, given.shape[1], RATE, channels).size == len(b"".join(parts))
    read, rate = soundfile.read(io.BytesIO(b"".join(parts)), always_2d=True)
    assert rate == RATE and np.abs(read.T - given).max() < 1e-4
    beginning, _ = soundfile.read(io.BytesIO(parts[0]), always_2d=True)
    assert np.abs(beginning.T - given[:, :6400]).max() < 1e-4


@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_comes_with_the_first_piece(channels: int) -> None:
    given = sound(channels)
    parts = encoded("mp3", given)
    beginning, _ = soundfile.read(io.BytesIO(parts[0]), always_2d=True)
    assert len(beginning) > 4000
    read, rate = soundfile.read(io.BytesIO(b"".join(parts)), always_2d=True)
    assert rate == RATE and 320_000 / 8 * 2 <= len(b"".join(parts)) < 320_000 / 8 * 2.2
    for expected, heard in zip(given, read.T, strict=True):
        # An encoder's delay is 1,105 samples, and the frame before the first is silent.
        delayed = heard[2257 : 2257 + len(expected)]
        assert np.corrcoef(expected[: len(delayed)], delayed)[0, 1] > 0.95


def test_what_is_too_loud_is_limited() -> None:
    for output_format in ("wav", "mp3"):
        parts = encoded(output_format, 3 * tone(2, amplitude=0.9))
        read, _ = soundfile.read(io.BytesIO(b"".join(parts)))
        assert 0.9 < np.abs(read).max() < 1.3
