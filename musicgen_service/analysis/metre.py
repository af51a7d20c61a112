"""Choice among the possible beats and bars of a recording: each reading gets a score, and the best one is used."""

from dataclasses import dataclass

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE

Array = NDArray[np.float64]
METRES = (4, 3)
_NEAR = 5  # frames within which an onset counts towards a metrical position
_CEILING = 8.0
PLACES = {
    4: np.array([0, 5, 3, 5, 2, 5, 4, 5, 1, 5, 4, 5, 2, 5, 4, 5]),
    3: np.array([0, 3, 2, 3, 1, 3, 2, 3, 1, 3, 2, 3]),
}
"""The class of each quarter-beat position in a bar. In 4/4: first beat, third, second and fourth, the half beat
after the first, other half beats, other quarters. In 3/4: first beat, others, half beats, quarters."""
KINDS = {metre: int(places.max()) + 2 for metre, places in PLACES.items()}
"""Number of position classes, plus one for the first beats of every other bar, since a chord may last two bars."""

# Fitted by demo/fit_metre.py on synthesised songs. Columns: onsets low, mid, high, changes of harmony and of bass.
WEIGHTS = {
    4: np.array(
        [
            (0.34, 0.41, -0.15, 0.16, -0.39),
            (-0.08, -0.11, 0.17, -0.01, -0.37),
            (-0.35, 0.01, 0.25, -0.56, -1.81),
            (-0.35, -0.20, 0.37, 0.54, -0.17),
            (0.21, -0.23, 0.04, -0.68, -0.27),
            (-0.26, -0.12, -0.45, 0.00, 1.75),
            (-0.28, -0.03, 0.14, 0.52, 0.18),
        ]
    ),
    3: np.array(
        [
            (0.28, 0.17, 0.10, 0.67, -0.04),
            (-0.29, 0.07, 0.39, -1.31, -1.08),
            (-0.08, -0.05, 0.07, -0.22, 0.34),
            (-0.29, -0.53, -0.24, 0.08, 0.71),
            (-0.17, -0.13, -0.13, 0.60, -0.39),
        ]
    ),
}
# Octaves from 110 bpm, their square, being in 3/4, octaves when in 3/4, regularity of the pulse.
REST_WEIGHTS = np.array([1.10, -2.22, -1.19, 1.03, 9.74])
_EXPECTED, _EXPECTED_OCTAVES = 8.0, 0.04
"""Score that an expected tempo adds to a reading at that tempo, and the width of the tolerance in octaves."""


@dataclass(frozen=True)
class Reading:
    """One interpretation of the beats and bars of a recording.

    Attributes
    ----------
    beats : fractional frames, from one beat before the recording to one after
    beats_per_bar : 4 or 3
    first_downbeat : index of the first downbeat among the beats
    regularity : of the pulse that the beats come from
    """

    beats: Array
    beats_per_bar: int
    first_downbeat: int
    regularity: float

    @property
    def tempo(self) -> float:
        """Beats per minute."""
        return float(60 * FRAME_RATE / np.median(np.diff(self.beats)))


def readings(pulses: list[tuple[Array, float]]) -> list[Reading]:
    """List all readings of pulses (ticks, regularity): on or between the ticks, in each metre, from each beat."""
    result = []
    for ticks, regularity in pulses:
        extended = np.concatenate([[2 * ticks[0] - ticks[1]], ticks, [2 * ticks[-1] - ticks[-2]]])
        for beats in (extended, (extended[:-1] + extended[1:]) / 2):
            result += [Reading(beats, m, d, regularity) for m in METRES for d in range(m)]
    return result


def evidence(rows: Array, reading: Reading) -> Array:
    """Compute the features of a reading: the mean of each band at each class of position, ``[features]``."""
    frames = rows.shape[1]
    count = len(reading.beats)
    quarters = np.interp(np.arange(4 * count - 3) / 4, np.arange(count), reading.beats)
    quarters = np.concatenate([quarters, quarters[-1:] + (quarters[-1] - quarters[-2]) * np.arange(1, 4)])
    at = np.round(quarters).astype(int)
    inside = (at >= 0) & (at < frames)
    places, number = PLACES[reading.beats_per_bar], KINDS[reading.beats_per_bar]
    place = (np.arange(len(quarters)) - 4 * reading.first_downbeat)[inside]
    at, kinds = at[inside], places[place % len(places)]
    # First beats also belong to a second class: that of odd or of even bars, whichever has more.
    first = kinds == 0
    at = np.concatenate([at, at[first]])
    kinds = np.concatenate([kinds, number - 1 + place[first] // len(places) % 2])
    counts = np.maximum(np.bincount(kinds, minlength=number + 1), 1)
    means = np.array([np.bincount(kinds, row[at], number + 1) / counts for row in rows]).T
    tables = {m: np.zeros((KINDS[m], len(BANDS))) for m in METRES}
    tables[reading.beats_per_bar] = np.minimum([*means[:-2], means[-2:].max(axis=0)], _CEILING)
    octaves = np.log2(reading.tempo / 110)
    three = float(reading.beats_per_bar == 3)
    rest = [octaves, octaves**2, three, three * octaves, reading.regularity]
    return np.concatenate([*(tables[m].ravel() for m in METRES), rest])


def widened(rows: Array) -> Array:
    """Widen envelopes, so that an onset also counts for the frames around it."""
    return scipy.ndimage.maximum_filter1d(rows, _NEAR, axis=1)


def best(rows: Array, pulses: list[tuple[Array, float]], tempo: float | None) -> Reading:
    """Choose the most plausible reading of a recording.

    Parameters
    ----------
    rows : ``[BANDS, frames]`` from `envelopes`
    pulses : one or more of (ticks, regularity)
    tempo : the expected tempo, if any
    """
    rows = widened(rows)
    weights = np.concatenate([*(WEIGHTS[m].ravel() for m in METRES), REST_WEIGHTS])

    def score(reading: Reading) -> float:
        value = float(evidence(rows, reading) @ weights)
        if tempo:
            value += _EXPECTED * float(np.exp(-0.5 * (np.log2(reading.tempo / tempo) / _EXPECTED_OCTAVES) ** 2))
        return value

    return max(readings(pulses), key=score)
