"""Integrated loudness by ITU-R BS.1770-4, equal to pyloudnorm's, whose import takes longer than most requests.

The weighting is that of the standard, as biquads by Robert Bristow-Johnson's formulas, which hold at every rate.
"""

from collections.abc import Iterator

import numpy as np

_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1500.0, 4.0, 0.5**0.5
"""The head's effect: high frequencies are louder."""
_PASS_HZ, _PASS_Q = 38.0, 0.5
"""Low frequencies are hardly heard."""
_DECAY = 0.2
"""Seconds after which the filters' impulse response is below the precision of a double."""
_TRANSFORM = 2**16
"""Samples transformed at a time."""
_GATE, _OVERLAP = 0.4, 4
"""Seconds of a gating block, and how many of them overlap."""
_ABSOLUTE, _RELATIVE = -70.0, -10.0
"""LUFS, and LU below the mean, from which on a block counts."""
_OFFSET = -0.691

Array = np.ndarray


def integrated_loudness(samples: Array, rate: int) -> float:
    """Measure the loudness of a clip of one or two channels in LUFS.

    Parameters
    ----------
    samples : float ``[channels, samples]``
    rate : samples per second

    Returns
    -------
    Minus infinity for silence. A clip shorter than a gating block is measured as one block.
    """
    count = samples.shape[1]
    gate = min(_GATE, count / rate)
    if not gate:
        return -np.inf
    blocks = round((count / rate - gate) / gate * _OVERLAP) + 1
    starts = (gate * (np.arange(blocks) / _OVERLAP) * rate).astype(int)
    ends = (gate * (np.arange(blocks) / _OVERLAP + 1) * rate).astype(int)
    energies = np.zeros(blocks)
    for first, weighted in _weighted(samples, rate):
        until = np.append(0.0, np.cumsum(np.square(weighted).sum(axis=0)))
        energies += np.diff(until[np.clip([starts - first, ends - first], 0, len(until) - 1)], axis=0)[0]
    powers = energies / (gate * rate)
    powers = powers[_lufs(powers) >= _ABSOLUTE]
    powers = powers[_lufs(powers) > _lufs(powers.mean()) + _RELATIVE] if len(powers) else powers
    return float(_lufs(powers.mean())) if len(powers) else -np.inf


def _lufs(power: Array) -> Array:
    with np.errstate(divide="ignore"):
        result: Array = _OFFSET + 10 * np.log10(power)
    return result


def _weighted(samples: Array, rate: int) -> Iterator[tuple[int, Array]]:
    """Filter ``[channels, samples]`` in the frequency domain: the first sample of each block, and the block in float64.

    Not all of it at once, which has eight bytes of each sample.
    """
    tail = round(_DECAY * rate)
    block = _TRANSFORM - tail
    turns = np.exp(-2j * np.pi * np.fft.rfftfreq(_TRANSFORM))
    response = np.prod([np.polyval(above, turns) / np.polyval(below, turns) for above, below in _biquads(rate)], axis=0)
    for start in range(0, samples.shape[1], block):
        heard = np.pad(samples[:, max(0, start - tail) : start + block], ((0, 0), (max(0, tail - start), 0)))
        filtered = np.fft.irfft(np.fft.rfft(heard.astype(np.float64), _TRANSFORM) * response)
        yield start, filtered[:, tail : heard.shape[1]]


def _biquads(rate: int) -> list[tuple[list[float], list[float]]]:
    """Numerator and denominator of each filter, coefficients of the longest delay first."""
    gain = 10 ** (_SHELF_DB / 40)
    root = 2 * np.sqrt(gain)
    cosine, alpha = _angle(_SHELF_HZ, _SHELF_Q, rate)
    shelf = (
        [
            gain * (gain + 1 + (gain - 1) * cosine - root * alpha),
            -2 * gain * (gain - 1 + (gain + 1) * cosine),
            gain * (gain + 1 + (gain - 1) * cosine + root * alpha),
        ],
        [
            gain + 1 - (gain - 1) * cosine - root * alpha,
            2 * (gain - 1 - (gain + 1) * cosine),
            gain + 1 - (gain - 1) * cosine + root * alpha,
        ],
    )
    cosine, alpha = _angle(_PASS_HZ, _PASS_Q, rate)
    half = (1 + cosine) / 2
    high_pass = ([half, -2 * half, half], [1 - alpha, -2 * cosine, 1 + alpha])
    return [shelf, high_pass]


def _angle(frequency: float, quality: float, rate: int) -> tuple[float, float]:
    """Cosine of a corner frequency's angle, and half its sine over the filter's quality."""
    angle = 2 * np.pi * frequency / rate
    return float(np.cos(angle)), float(np.sin(angle) / (2 * quality))
