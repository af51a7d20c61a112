"""From beats to seconds: how tempo moves, and how players deviate from it."""

from collections.abc import Callable

from bench.rendered.score import ScoreNote
from demo.synth.song import Note

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_STEPS = 4  # of a beat: resolution of tempo curves
_LEAST_SECONDS = 0.03  # that a note lasts


def _steady(_random: np.random.Generator, steps: int) -> Array:
    return np.zeros(steps)


def _human(random: np.random.Generator, steps: int) -> Array:
    """A drift of 2 %, correlated over about eight beats."""
    keep = 1 - 1 / (8 * _STEPS)
    noise = random.standard_normal(steps)
    drift = np.zeros(steps)
    for index in range(1, steps):
        drift[index] = keep * drift[index - 1] + np.sqrt(1 - keep**2) * noise[index]
    return 0.02 * drift


def _rubato(random: np.random.Generator, steps: int) -> Array:
    """Slower and faster by up to 12 %, in waves of two to four bars."""
    waves = np.arange(steps) / (_STEPS * random.uniform(8, 16)) + random.random()
    return random.uniform(0.06, 0.12) * np.sin(2 * np.pi * waves)


def _change(random: np.random.Generator, steps: int) -> Array:
    """One sudden change, by 8 to 25 %, in the middle third."""
    curve = np.zeros(steps)
    at = int(steps * random.uniform(0.33, 0.66)) // (4 * _STEPS) * 4 * _STEPS
    curve[at:] = random.choice([-1, 1]) * random.uniform(0.08, 0.25)
    return curve


def _drive(random: np.random.Generator, steps: int) -> Array:
    """A steady change from beginning to end, by 5 to 15 %."""
    return np.linspace(0, random.choice([-1, 1]) * random.uniform(0.05, 0.15), steps)


TIMINGS: dict[str, tuple[Callable[[np.random.Generator, int], Array], float, float]] = {
    "steady": (_steady, 0.0, 0.3),
    "human": (_human, 0.008, 0.35),
    "rubato": (_rubato, 0.012, 0.12),
    "change": (_change, 0.006, 0.13),
    "drive": (_drive, 0.006, 0.1),
}
"""Each with its tempo curve (logarithms of factors), the deviation of single notes in seconds, and how usual it is."""


class Performance:
    """Times of a score's positions.

    Parameters
    ----------
    timing : one of TIMINGS
    tempo : beats per minute
    beats : length
    swing : how far half beats are delayed, as a share of a beat
    """

    def __init__(self, timing: str, tempo: float, beats: int, swing: float, random: np.random.Generator) -> None:
        curve, self._deviation, _ = TIMINGS[timing]
        steps = (beats + 1) * _STEPS
        durations = 60 / tempo / _STEPS * np.exp(-curve(random, steps))
        self._times = np.concatenate([[0.0], np.cumsum(durations)])
        self._swing = swing
        self._random = random

    def seconds(self, beats: float | Array) -> Array:
        """Times of positions that are on beats, or are not swung."""
        return np.interp(np.asarray(beats) * _STEPS, np.arange(len(self._times)), self._times)

    def play(self, notes: list[ScoreNote], precision: float = 1.0) -> list[tuple[Note, float]]:
        """Notes as played, each with its loudness from 0 to 1; `precision` scales the deviations."""
        played = []
        for note in notes:
            # Notes of a chord are struck together, roughly: each deviates by itself.
            shift = precision * self._deviation * self._random.standard_normal()
            start, end = (float(self.seconds(self._swung(at))) for at in (note.start, note.end))
            start = max(start + shift, 0.0)
            loudness = float(np.clip(note.loudness * np.exp(0.12 * self._random.standard_normal()), 0.1, 1.0))
            played.append((Note(start, max(end + shift, start + _LEAST_SECONDS), note.midi), loudness))
        return played

    def _swung(self, beats: float) -> float:
        """Stretch the first half of each beat, and shorten the second."""
        whole, part = divmod(beats, 1)
        late = 0.5 + self._swing
        return float(whole + (part * 2 * late if part < 0.5 else late + (part - 0.5) * 2 * (1 - late)))
