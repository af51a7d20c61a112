"""Conversion of individually detected beats to a regular beat grid."""

from typing import NamedTuple

import numpy as np

from musicgen_service.analysis import beats, pulse
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.metre import METRES

_MAX_DEVIATION = 0.2
"""Maximum deviation of a steady beat interval, as a share of the median interval."""

_BEATS_PER_BAR = frozenset(metre.beats for metre in METRES)


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


def to_grid(detected: DetectedBeats) -> BeatGrid | None:
    """Fit a grid to detected beats; None when there are too few.

    A network detects each beat independently, to a frame of about 20 ms. Each beat is moved to the line through its
    neighbours, and missed beats are filled in.
    """
    if len(detected.beats) < beats.MIN_BEATS or not len(detected.downbeats):
        return None
    intervals = np.diff(detected.beats)
    period = float(np.median(intervals))
    steady_share = float((np.abs(intervals / period - 1) < _MAX_DEVIATION).mean())
    number = np.concatenate([[0], np.cumsum(np.round(intervals / period).astype(int))])
    numbers, first = np.unique(number, return_index=True)
    grid = pulse.smooth(np.interp(np.arange(number[-1] + 1), numbers, detected.beats[first]), 1)
    is_downbeat = np.isin(np.arange(len(grid)), number[np.isin(detected.beats, detected.downbeats)])
    bars = np.diff(np.flatnonzero(is_downbeat))
    # Between downbeats may lie several bars of three, or, where one was missed, any number of beats.
    usual = int(np.median(bars)) if len(bars) else 4
    beats_per_bar = 3 if usual % 3 == 0 else usual if usual in _BEATS_PER_BAR else 4
    return BeatGrid(
        tempo=beats.tempo_of(grid),
        beats=np.maximum(grid, 0.0),
        downbeats=np.maximum(grid[is_downbeat], 0.0),
        beats_per_bar=beats_per_bar,
        confidence=detected.probability * steady_share,
        metre=f"{beats_per_bar}/4",
        metre_confidence=float((bars % beats_per_bar == 0).mean()) if len(bars) else 0.0,
    )
