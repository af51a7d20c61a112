"""Which of many possible beats and bars a listener hears: each reading of a recording gets a score."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d

from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE

Array = NDArray[np.float64]
METRES = (4, 3)
_NEAR = 5  # frames within which an onset counts as on a place
_CEILING = 8.0
PLACES = {
    4: np.array([0, 5, 3, 5, 2, 5, 4, 5, 1, 5, 4, 5, 2, 5, 4, 5]),
    3: np.array([0, 3, 2, 3, 1, 3, 2, 3, 1, 3, 2, 3]),
}
"""The kind of place of each quarter of a beat in a bar. In 4/4: first beat, third, second and fourth, the half beat
after the first, other half beats, other quarters. In 3/4: first beat, others, half beats, quarters."""

# Fitted by demo/fit_metre.py on synthesised songs. Columns: onsets low, mid, high, changes of harmony and of bass.
WEIGHTS = {
    4: np.array(
        [
            (0.09, 0.46, -0.09, 0.80, -0.24),
            (-0.08, -0.17, 0.16, -0.72, -1.52),
            (-0.28, 0.06, 0.23, -0.66, -2.53),
            (-0.13, -0.34, 0.45, 0.47, -0.47),
            (0.13, -0.11, -0.13, -1.18, -0.50),
            (0.20, -0.61, -0.31, -0.14, 1.15),
        ]
    ),
    3: np.array(
        [
            (0.21, -0.04, -0.02, 0.92, -0.06),
            (-0.25, 0.06, 0.29, -0.86, -2.47),
            (0.04, -0.20, 0.14, -0.45, -0.94),
            (-0.27, -0.48, -0.27, 0.30, -0.48),
        ]
    ),
}
# Octaves from 110 bpm, their square, being in 3/4, octaves when in 3/4, regularity of the pulse.
REST_WEIGHTS = np.array([0.89, -2.30, -0.83, 0.31, 10.38])
_EXPECTED, _EXPECTED_OCTAVES = 8.0, 0.04
"""What an expected tempo adds to the score of a reading at it, and how near (in octaves) it must be."""


@dataclass(frozen=True)
class Reading:
    """One way to hear a recording.

    Attributes
    ----------
    beats : fractional frames, from one beat before the recording to one after
    beats_per_bar : 4 or 3
    first_downbeat : index of one of the first beats
    regularity : of the pulse the beats are taken from
    """

    beats: Array
    beats_per_bar: int
    first_downbeat: int
    regularity: float

    @property
    def tempo(self) -> float:
        """Beats a minute."""
        return float(60 * FRAME_RATE / np.median(np.diff(self.beats)))


def readings(pulses: list[tuple[Array, float]]) -> list[Reading]:
    """All readings of pulses (ticks, regularity): on the ticks or between them, in each metre, from each beat."""
    found = []
    for ticks, regularity in pulses:
        extended = np.concatenate([[2 * ticks[0] - ticks[1]], ticks, [2 * ticks[-1] - ticks[-2]]])
        for beats in (extended, (extended[:-1] + extended[1:]) / 2):
            found += [Reading(beats, m, d, regularity) for m in METRES for d in range(m)]
    return found


def evidence(rows: Array, reading: Reading) -> Array:
    """What speaks for and against a reading: mean of each band at each kind of place, ``[features]``."""
    frames = rows.shape[1]
    count = len(reading.beats)
    quarters = np.interp(np.arange(4 * count - 3) / 4, np.arange(count), reading.beats)
    quarters = np.concatenate([quarters, quarters[-1:] + (quarters[-1] - quarters[-2]) * np.arange(1, 4)])
    places = PLACES[reading.beats_per_bar]
    kinds = places[(np.arange(len(quarters)) - 4 * reading.first_downbeat) % len(places)]
    at = np.round(quarters).astype(int)
    inside = (at >= 0) & (at < frames)
    at, kinds = at[inside], kinds[inside]
    number = places.max() + 1
    counts = np.maximum(np.bincount(kinds, minlength=number), 1)
    means = [np.bincount(kinds, row[at], number) / counts for row in rows]
    tables = {m: np.zeros((PLACES[m].max() + 1, len(BANDS))) for m in METRES}
    tables[reading.beats_per_bar] = np.minimum(np.array(means).T, _CEILING)
    octaves = np.log2(reading.tempo / 110)
    three = float(reading.beats_per_bar == 3)
    rest = [octaves, octaves**2, three, three * octaves, reading.regularity]
    return np.concatenate([*(tables[m].ravel() for m in METRES), rest])


def widened(rows: Array) -> Array:
    """Envelopes in which an onset counts for the frames around it too."""
    return maximum_filter1d(rows, _NEAR, axis=1)


def best(rows: Array, pulses: list[tuple[Array, float]], tempo: float | None) -> Reading:
    """The most plausible reading of a recording.

    Parameters
    ----------
    rows : ``[BANDS, frames]`` from `envelopes`
    pulses : one or more of (ticks, regularity)
    tempo : what is expected, if anything is
    """
    rows = widened(rows)
    weights = np.concatenate([*(WEIGHTS[m].ravel() for m in METRES), REST_WEIGHTS])

    def score(reading: Reading) -> float:
        value = float(evidence(rows, reading) @ weights)
        if tempo:
            value += _EXPECTED * float(np.exp(-0.5 * (np.log2(reading.tempo / tempo) / _EXPECTED_OCTAVES) ** 2))
        return value

    return max(readings(pulses), key=score)
