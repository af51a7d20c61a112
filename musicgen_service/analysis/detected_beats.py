"""From the beats that a neural network hears one by one to a grid that can be counted."""

from typing import NamedTuple

import numpy as np

from musicgen_service.analysis import beats, pulse
from musicgen_service.analysis.beats import BeatGrid

_STEADY = 0.2
"""By which share of the usual one the time between steady beats differs, at most."""


class DetectedBeats(NamedTuple):
    """What a network hears.

    Attributes
    ----------
    beats : seconds, float64 ``[beats]``, ascending
    downbeats : those that begin a bar
    probability : the mean of the network's for the beats, 0 to 1
    """

    beats: np.ndarray
    downbeats: np.ndarray
    probability: float


def to_grid(heard: DetectedBeats) -> BeatGrid | None:
    """The grid of what was heard; None where there is too little for one.

    A network hears each beat by itself, to a frame of 20 ms or so. Here each is moved to the line through its
    neighbours, and one that was not heard is filled in.
    """
    if len(heard.beats) < beats.ENOUGH or not len(heard.downbeats):
        return None
    intervals = np.diff(heard.beats)
    period = float(np.median(intervals))
    steady = float((np.abs(intervals / period - 1) < _STEADY).mean())
    number = np.concatenate([[0], np.cumsum(np.round(intervals / period).astype(int))])
    numbers, first = np.unique(number, return_index=True)
    grid = pulse.smooth(np.interp(np.arange(number[-1] + 1), numbers, heard.beats[first]), 1)
    is_downbeat = np.isin(np.arange(len(grid)), number[np.isin(heard.beats, heard.downbeats)])
    bar = np.median(np.diff(np.flatnonzero(is_downbeat))) if is_downbeat.sum() > 1 else 4
    return BeatGrid(
        tempo=60 / float(np.polyfit(np.arange(len(grid)), grid, 1)[0]),
        beats=np.maximum(grid, 0.0),
        downbeats=np.maximum(grid[is_downbeat], 0.0),
        beats_per_bar=3 if bar % 3 == 0 else 4,
        confidence=heard.probability * steady,
    )
