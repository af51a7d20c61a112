"""Conversion of individually detected beats to a regular beat grid."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import beats, pulse
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.metre import METRES

_MAX_DEVIATION = 0.2
"""Maximum deviation of a steady beat interval, as a share of the median interval."""
_SAME_TEMPO = 0.1
"""Octaves between tempi that count as the same."""
_MOST = 0.89
"""Highest confidence: the F-measure of Beat This! on songs that it was not trained on (GTZAN; Foscarin et al.)."""

_BEATS_PER_BAR = frozenset(metre.beats for metre in METRES)

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


class DetectedBeats(NamedTuple):
    """Beats detected by a neural network.

    Attributes
    ----------
    beats : seconds, float64 ``[beats]``, ascending
    downbeats : the beats that begin a bar
    probability : mean of the network's probabilities at the beats, 0 to 1
    """

    beats: np.ndarray
    downbeats: np.ndarray
    probability: float


def to_grid(detected: DetectedBeats, tempo: float | None = None) -> BeatGrid | None:
    """Fit a grid to detected beats; None when there are too few.

    A network detects each beat independently, to a frame of about 20 ms. Each beat is moved to the line through its
    neighbours, and missed beats are filled in, also in silences.

    Parameters
    ----------
    detected : what the network found
    tempo : the requested tempo, if any; where it is about half or double that of the beats, so are they
    """
    if len(detected.beats) < beats.MIN_BEATS or not len(detected.downbeats):
        return None
    intervals = np.diff(detected.beats)
    period = float(np.median(intervals))
    steady_share = float((np.abs(intervals / period - 1) < _MAX_DEVIATION).mean())
    number = np.concatenate([[0], np.cumsum(np.round(intervals / period).astype(int))])
    numbers, first = np.unique(number, return_index=True)
    grid = pulse.smooth(np.interp(np.arange(number[-1] + 1), numbers, detected.beats[first]), 1)
    downbeats = np.unique(number[np.isin(detected.beats, detected.downbeats)])
    bars = np.diff(downbeats)
    # Between downbeats may lie several bars of three, or, where one was missed, any number of beats.
    usual = int(np.median(bars)) if len(bars) else 4
    beats_per_bar = 3 if usual % 3 == 0 else usual if usual in _BEATS_PER_BAR else 4
    metre_confidence = float((bars % beats_per_bar == 0).mean()) if len(bars) else 0.0
    octaves = float(np.log2(tempo * period / 60)) if tempo else 0.0
    if abs(octaves - 1) < _SAME_TEMPO:
        grid, downbeats = _doubled(grid, downbeats, beats_per_bar)
    elif abs(octaves + 1) < _SAME_TEMPO:
        grid, downbeats, beats_per_bar = _halved(grid, downbeats, beats_per_bar)
    return BeatGrid(
        tempo=beats.tempo_of(grid),
        beats=np.maximum(grid, 0.0),
        downbeats=np.maximum(grid[downbeats], 0.0),
        beats_per_bar=beats_per_bar,
        confidence=min(detected.probability * steady_share, _MOST),
        metre=f"{beats_per_bar}/4",
        metre_confidence=metre_confidence,
    )


def _doubled(grid: Floats, downbeats: Numbers, per_bar: int) -> tuple[Floats, Numbers]:
    """Twice as many beats, in bars of as many as before, and the numbers of the downbeats among them."""
    twice = np.interp(np.arange(2 * len(grid) - 1) / 2, np.arange(len(grid)), grid)
    every = np.union1d(2 * downbeats, 2 * downbeats + per_bar)
    return twice, every[every < len(twice)]


def _halved(grid: Floats, downbeats: Numbers, per_bar: int) -> tuple[Floats, Numbers, int]:
    """Every second beat, as counted from the first downbeat, the numbers of the downbeats among them, beats per bar."""
    first = int(downbeats[0])
    kept = np.arange(first % 2, len(grid), 2)
    if per_bar == 4:
        per_bar = 2
        begin = downbeats[(downbeats - first) % 2 == 0]
    else:
        begin = downbeats[(downbeats - first) % (2 * per_bar) == 0]
    return grid[kept], begin // 2, per_bar
