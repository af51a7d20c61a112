"""Pulses: sequences of regular or drifting ticks that match the onsets of a recording."""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import FRAME_RATE

Array = NDArray[np.float64]
MIN_TEMPO, MAX_TEMPO = 38.0, 330.0  # ticks per minute
CANDIDATES = 10
_STEPS = 72  # tempi per octave
TEMPI = MIN_TEMPO * 2 ** (np.arange(0, np.log2(MAX_TEMPO / MIN_TEMPO), 1 / _STEPS))
_MULTIPLES = 8
_SAME = 0.01  # relative difference below which two periods count as the same
_SEARCH = 0.02  # relative search range of the exact period around a bin of TEMPI
_AROUND = 3  # frames on either side of a tick whose onsets belong to it
_TIGHTNESS = 100.0  # of dynamic programming: penalty for deviating from the period
_RATIOS = 2 ** np.linspace(-0.32, 0.32, 41)  # of the intervals that are tried to the period
_BLOCK = 1024  # frames whose intervals are computed at once


def regularity(onsets: Array) -> Array:
    """Regularity of onsets at each of TEMPI: mean autocorrelation (-1..1) at multiples of the period."""
    frames = len(onsets)
    spectrum = np.fft.rfft(onsets - onsets.mean(), 2 * frames)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:frames]
    correlation /= np.maximum(np.arange(frames, 0, -1), 0.15 * frames)
    correlation = np.convolve(correlation / max(correlation[0], 1e-9), (0.25, 0.5, 0.25), "same")
    lags = np.outer(np.arange(1, _MULTIPLES + 1), 60 * FRAME_RATE / TEMPI)
    weights = (lags < 0.75 * frames) / np.sqrt(np.arange(1, _MULTIPLES + 1))[:, None]
    values = np.interp(lags, np.arange(frames), correlation)
    return (weights * values).sum(axis=0) / np.maximum(weights.sum(axis=0), 1e-9)


def periods(onsets: Array, tempo: float | None = None) -> list[float]:
    """Find candidate periods (frames), the most regular first.

    Parameters
    ----------
    onsets : ``[frames]``
    tempo : an additional candidate, together with its half and double; or None
    """
    score = regularity(onsets)
    peaks = np.flatnonzero((score[1:-1] >= score[:-2]) & (score[1:-1] > score[2:])) + 1
    peaks = peaks[np.argsort(-score[peaks])][:CANDIDATES]
    tempi = [*TEMPI[peaks], *([tempo / 2, tempo, 2 * tempo] if tempo else [])]
    spectrum = _Spectrum(onsets)
    candidates: list[float] = []
    for candidate in tempi:
        if MIN_TEMPO <= candidate <= MAX_TEMPO and 60 * FRAME_RATE / candidate < 0.75 * len(onsets):
            period = spectrum.period_near(60 * FRAME_RATE / candidate)
            if all(abs(np.log(period / other)) > _SAME for other in candidates):
                candidates.append(period)
    return candidates


class _Spectrum:
    """Oversampled spectrum of the onsets, used to refine periods."""

    def __init__(self, onsets: Array) -> None:
        self.size = 16 * len(onsets)
        self.magnitude = np.abs(np.fft.rfft(onsets - onsets.mean(), self.size))

    def period_near(self, period: float) -> float:
        """Find the period at which a tick and its subdivisions by 2 and 4 are strongest together."""
        periods = period * np.linspace(1 - _SEARCH, 1 + _SEARCH, 161)
        bins = self.size / periods
        total = sum(np.interp(k * bins, np.arange(len(self.magnitude)), self.magnitude) for k in (1, 2, 4))
        return float(periods[np.argmax(total)])


def phase(onsets: Array, period: float) -> float:
    """The first tick, in frames, of the even grid of a period that meets the onsets best."""
    frames = len(onsets)
    offsets = np.arange(0, period, 0.5)
    grids = offsets[:, None] + period * np.arange(int(frames / period) + 1)
    inside = grids < frames
    strength = np.where(inside, np.interp(grids, np.arange(frames), onsets), 0).sum(axis=1)
    return float(offsets[np.argmax(strength / np.maximum(inside.sum(axis=1), 1))])


def steady(onsets: Array, period: float) -> Array:
    """Compute the times (fractional frames) of an even grid through the recording, where it meets the onsets best."""
    return _straight(onsets, np.arange(phase(onsets, period), len(onsets), period))


def _straight(onsets: Array, grid: Array) -> Array:
    """Fit an even grid to the onsets around a grid's ticks, by weighted least squares."""
    index, around = np.arange(len(grid)), np.arange(-_AROUND, _AROUND + 1)
    if len(grid) < 3:
        return grid
    for _ in range(2):
        positions = np.round(grid).astype(int)[:, None] + around
        inside = (positions >= 0) & (positions < len(onsets))
        strengths = np.where(inside, onsets[np.clip(positions, 0, len(onsets) - 1)], 0)
        weights = strengths.sum(axis=1) + 1e-6
        centres = ((strengths * positions).sum(axis=1) + 1e-6 * grid) / weights
        slope, first = np.polyfit(index, centres, 1, w=np.sqrt(weights))
        grid = first + slope * index
    return grid


def drifting(onsets: Array, periods: Array) -> list[Array]:
    """Find ticks by dynamic programming (Ellis, JNMR 2007), which balances onset strength and even spacing.

    Parameters
    ----------
    onsets : ``[frames]``
    periods : frames between ticks around each frame, of each pulse: ``[pulses, frames]``

    Returns
    -------
    Of each pulse the times of its ticks, in fractional frames
    """
    count, frames = periods.shape
    strengths = onsets / max(float(onsets.std()), 1e-9)
    cost = _TIGHTNESS * np.log(_RATIOS) ** 2
    longest = int(np.ceil(periods.max() * _RATIOS[-1]))
    total = np.zeros((count, longest + frames))  # before the first frame nothing is gained
    came_from = np.zeros((count, frames), int)
    pulses = np.arange(count)
    for frame in range(frames):
        if frame % _BLOCK == 0:
            block = periods[:, frame : frame + _BLOCK, None]
            before = longest + frame + np.arange(block.shape[1])[:, None] - np.round(block * _RATIOS).astype(int)
        earlier = before[:, frame % _BLOCK]
        options = total[pulses[:, None], earlier] - cost
        best = options.argmax(axis=1)
        total[:, longest + frame] = strengths[frame] + options[pulses, best]
        came_from[:, frame] = earlier[pulses, best] - longest
    result = []
    for number in range(count):
        last_period = max(frames - round(periods[number, -1]), 0)
        path = [last_period + int(np.argmax(total[number, longest + last_period :]))]
        while came_from[number, path[-1]] >= 0:
            path.append(int(came_from[number, path[-1]]))
        result.append(np.array(path[::-1], float))
    return result


def smooth(path: NDArray[np.int64] | Array, width: int) -> Array:
    """Smooth ticks: each is taken from a line through its `width` neighbours on either side."""
    padded = np.concatenate([2 * path[0] - path[width:0:-1], path, 2 * path[-1] - path[-2 : -width - 2 : -1]])
    return np.convolve(padded, np.full(2 * width + 1, 1 / (2 * width + 1)), "valid")
