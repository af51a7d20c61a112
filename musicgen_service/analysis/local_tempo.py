"""Tempo over time: a pulse that speeds up, slows down or changes has another period in each part of a recording."""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import pulse
from musicgen_service.analysis.envelopes import FRAME_RATE

Array = NDArray[np.float64]
_WINDOW, _HOP = round(5 * FRAME_RATE), round(1 * FRAME_RATE)  # frames
_RANGE = 29  # steps of pulse.TEMPI, 0.4 octaves: tempi further from a candidate are another pulse's
_CHANGE_COST = 0.015  # of regularity, for a step from one window to the next


def periods(onsets: Array, candidates: list[float]) -> Array:
    """Follow each of the candidate periods through a recording.

    Parameters
    ----------
    onsets : ``[frames]``
    candidates : periods in frames

    Returns
    -------
    ``[candidates, frames]``: the period around each frame
    """
    frames = len(onsets)
    steady = np.repeat(np.array(candidates)[:, None], frames, axis=1)
    if frames < _WINDOW + 2 * _HOP:
        return steady
    starts = np.arange(0, frames - _WINDOW + 1, _HOP)
    local = np.array([pulse.regularity(onsets[start : start + _WINDOW]) for start in starts])
    centres = starts + _WINDOW / 2
    for number, period in enumerate(candidates):
        nearest = int(np.argmin(np.abs(np.log(pulse.TEMPI * period / (60 * FRAME_RATE)))))
        first = max(0, nearest - _RANGE)
        path = first + _best_path(local[:, first : nearest + _RANGE + 1])
        steady[number] = 60 * FRAME_RATE / np.interp(np.arange(frames), centres, pulse.TEMPI[path])
    return steady


def _best_path(values: Array) -> NDArray[np.int64]:
    """Columns of ``[windows, columns]`` with the highest sum, where a change costs as much as it is wide (Viterbi)."""
    columns = np.arange(values.shape[1])
    cost = _CHANGE_COST * np.abs(columns[:, None] - columns)
    total, came_from = values[0], []
    for row in values[1:]:
        options = total[:, None] - cost
        came_from.append(options.argmax(axis=0))
        total = row + options.max(axis=0)
    path = [int(total.argmax())]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1])
