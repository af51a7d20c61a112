"""Conversion to another sample rate: of a whole clip, of a loop, and of sound of which more is to come."""

from collections.abc import Iterator

import numpy as np
import soxr

from musicgen_service.audio.mixing import fit_length


def resample(samples: np.ndarray, rate: int, new_rate: int, length: int) -> np.ndarray:
    """Convert a clip to another sample rate, and to an exact length.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate, new_rate : samples per second, before and after
    length : of the result, in samples

    Returns
    -------
    float32 array [channels, length]; peaks may be slightly higher
    """
    if new_rate != rate:
        samples = soxr.resample(np.ascontiguousarray(samples.T), rate, new_rate).T
    return samples if samples.shape[1] == length else fit_length(samples, length)


def resample_loop(samples: np.ndarray, length: int) -> np.ndarray:
    """Convert a loop to another length, whose end goes on at its beginning as before: by its Fourier series.

    Parameters
    ----------
    samples : float32 array [channels, samples]

    Returns
    -------
    float32 array [channels, length]; peaks may be slightly higher
    """
    before = samples.shape[1]
    if before == length:
        return samples
    shorter = min(before, length)
    spectrum = np.fft.rfft(samples, axis=1)[:, : shorter // 2 + 1]
    if shorter % 2 == 0:
        spectrum[:, -1] = 0  # half a period per sample, whose phase cannot be told
    return (np.fft.irfft(spectrum, length, axis=1) * (length / before)).astype(np.float32)


def resample_stream(pieces: Iterator[np.ndarray], rate: int, new_rate: int, length: int) -> Iterator[np.ndarray]:
    """Convert consecutive pieces [channels, samples] to another sample rate, and to an exact length altogether."""
    if new_rate == rate:
        yield from pieces
        return
    first = next(pieces)
    stream = soxr.ResampleStream(rate, new_rate, first.shape[0], dtype="float32")
    done = 0

    def converted(piece: np.ndarray, *, last: bool = False) -> np.ndarray:
        nonlocal done
        result = stream.resample_chunk(np.ascontiguousarray(piece.T), last=last).T[:, : length - done]
        done += result.shape[1]
        return np.ascontiguousarray(result)

    yield converted(first)
    for piece in pieces:
        yield converted(piece)
    rest = converted(first[:, :0], last=True)
    yield fit_length(rest, rest.shape[1] + length - done)
