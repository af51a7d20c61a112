"""Pulses: trains of regular or slowly drifting ticks that fit the onsets of a recording."""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import FRAME_RATE

Array = NDArray[np.float64]
SLOWEST, FASTEST = 38.0, 330.0  # ticks a minute
CANDIDATES = 10
_STEPS = 72  # tempi to an octave
_TEMPI = SLOWEST * 2 ** (np.arange(0, np.log2(FASTEST / SLOWEST), 1 / _STEPS))
_MULTIPLES = 8
_SAME = 0.01  # periods closer than this are one
_SEARCH = 0.02  # how far from a bin of _TEMPI the exact period may be
_AROUND = 3  # frames on either side of a tick whose onsets belong to it
_TIGHTNESS = 300.0  # of dynamic programming: how much a tick may not deviate from the period
_DRIFT_GAIN = 1.5  # how much better ticks must be met by drifting before the tempo counts as unsteady


def regularity(onsets: Array) -> Array:
    """How well onsets repeat at each of _TEMPI: mean autocorrelation (-1..1) at the period's multiples."""
    frames = len(onsets)
    spectrum = np.fft.rfft(onsets - onsets.mean(), 2 * frames)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:frames]
    correlation /= np.maximum(np.arange(frames, 0, -1), 0.15 * frames)
    correlation = np.convolve(correlation / max(correlation[0], 1e-9), (0.25, 0.5, 0.25), "same")
    lags = np.outer(np.arange(1, _MULTIPLES + 1), 60 * FRAME_RATE / _TEMPI)
    weights = (lags < 0.75 * frames) / np.sqrt(np.arange(1, _MULTIPLES + 1))[:, None]
    values = np.interp(lags, np.arange(frames), correlation)
    return (weights * values).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-9)


def periods(onsets: Array, tempo: float | None = None) -> list[tuple[float, float]]:
    """Candidate periods (frames) with their regularity, best first.

    Parameters
    ----------
    onsets : ``[frames]``
    tempo : also a candidate when given, with its half and double
    """
    score = regularity(onsets)
    peaks = np.flatnonzero((score[1:-1] >= score[:-2]) & (score[1:-1] > score[2:])) + 1
    peaks = peaks[np.argsort(-score[peaks])][:CANDIDATES]
    tempi = [*_TEMPI[peaks], *([tempo / 2, tempo, 2 * tempo] if tempo else [])]
    precise = _Spectrum(onsets)
    found: list[tuple[float, float]] = []
    for candidate in tempi:
        if SLOWEST <= candidate <= FASTEST and 60 * FRAME_RATE / candidate < 0.75 * len(onsets):
            period = precise.period_near(60 * FRAME_RATE / candidate)
            if all(abs(np.log(period / other)) > _SAME for other, _ in found):
                found.append((period, float(np.interp(60 * FRAME_RATE / period, _TEMPI, score))))
    return found


class _Spectrum:
    """The onsets' spectrum, oversampled, to read exact periods from."""

    def __init__(self, onsets: Array) -> None:
        self.size = 16 * len(onsets)
        self.magnitude = np.abs(np.fft.rfft(onsets - onsets.mean(), self.size))

    def period_near(self, period: float) -> float:
        """The period at which a tick and its subdivisions by 2 and 4 are strongest together."""
        tried = period * np.linspace(1 - _SEARCH, 1 + _SEARCH, 161)
        bins = self.size / tried
        total = sum(np.interp(k * bins, np.arange(len(self.magnitude)), self.magnitude) for k in (1, 2, 4))
        return float(tried[np.argmax(total)])


def ticks(onsets: Array, period: float) -> Array:
    """Times (fractional frames) of a pulse through the whole recording: a regular grid, or drifting where it drifts."""
    frames = len(onsets)
    offsets = np.arange(0, period, 0.5)
    grids = offsets[:, None] + period * np.arange(int(frames / period) + 1)
    inside = grids < frames
    met = np.where(inside, np.interp(grids, np.arange(frames), onsets), 0).sum(axis=1) / np.maximum(
        inside.sum(axis=1), 1
    )
    best = int(np.argmax(met))
    grid = _straight(onsets, grids[best][inside[best]])
    if frames < 16 * period:
        return grid
    drifting = _follow(onsets, period)
    return smooth(drifting, 4) if onsets[drifting].mean() > _DRIFT_GAIN * met[best] else grid


def _straight(onsets: Array, grid: Array) -> Array:
    """The even grid that is nearest to the onsets around a grid's ticks, by weighted least squares."""
    index, around = np.arange(len(grid)), np.arange(-_AROUND, _AROUND + 1)
    if len(grid) < 3:
        return grid
    for _ in range(2):
        places = np.round(grid).astype(int)[:, None] + around
        inside = (places >= 0) & (places < len(onsets))
        strengths = np.where(inside, onsets[np.clip(places, 0, len(onsets) - 1)], 0)
        weights = strengths.sum(axis=1) + 1e-6
        centres = ((strengths * places).sum(axis=1) + 1e-6 * grid) / weights
        slope, first = np.polyfit(index, centres, 1, w=np.sqrt(weights))
        grid = first + slope * index
    return grid


def _follow(onsets: Array, period: float) -> NDArray[np.int64]:
    """Ticks by dynamic programming (Ellis, JNMR 2007): on onsets, and evenly spaced."""
    strengths = onsets / max(float(onsets.std()), 1e-9)
    shortest, longest = round(0.8 * period), round(1.25 * period)
    cost = _TIGHTNESS * np.log(np.arange(longest, shortest - 1, -1) / period) ** 2
    total, came_from = strengths.copy(), np.full(len(onsets), -1)
    for frame in range(longest, len(onsets)):
        options = total[frame - longest : frame - shortest + 1] - cost
        best = int(np.argmax(options))
        total[frame] += options[best]
        came_from[frame] = frame - longest + best
    last_period = max(len(onsets) - round(period), 0)
    path = [last_period + int(np.argmax(total[last_period:]))]
    while came_from[path[-1]] >= 0:
        path.append(int(came_from[path[-1]]))
    return np.array(path[::-1])


def smooth(path: NDArray[np.int64] | Array, width: int) -> Array:
    """Ticks without the jitter of single onsets: each from a line through its `width` neighbours on either side."""
    padded = np.concatenate([2 * path[0] - path[width:0:-1], path, 2 * path[-1] - path[-2 : -width - 2 : -1]])
    return np.convolve(padded, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")
