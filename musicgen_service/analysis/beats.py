"""Tempo, beats and bars of a recording."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from musicgen_service.analysis import metre, pulse
from musicgen_service.analysis.envelopes import FRAME_RATE, envelopes, mono

MIN_SECONDS = 1.0
_MIX = np.array([1.0, 1.0, 0.5, 0.3, 0.3])  # of the envelopes, in which pulses are sought
_EDGE = 0.03  # seconds
ENOUGH = 8  # beats; fewer may follow each other evenly by chance
_CLEAR = 0.35  # regularity of a pulse that nobody doubts


@dataclass(frozen=True)
class BeatGrid:
    """The metrical grid of a recording; without beats everything is empty and zero.

    Attributes
    ----------
    tempo : beats a minute, from a line through the beats
    beats : seconds, float64 ``[beats]``
    downbeats : the beats that begin a bar
    beats_per_bar : 4 or 3
    confidence : 0 (no pulse) to 1
    """

    tempo: float = 0.0
    beats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    downbeats: np.ndarray = field(default_factory=lambda: np.zeros(0))
    beats_per_bar: int = 4
    confidence: float = 0.0


class BeatTracker(Protocol):
    """What finds the beats and bars of a recording."""

    def __call__(self, samples: np.ndarray, sample_rate: int, tempo: float | None, /) -> BeatGrid:
        """See `track`, which is one."""
        ...


def track(samples: np.ndarray, sample_rate: int, tempo: float | None = None) -> BeatGrid:
    """Find the beats and bars of a recording.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    tempo : the tempo that was asked for, if one was: decides between halves and doubles, and yields to clear
        evidence of another
    """
    audio = mono(samples, sample_rate)
    seconds = np.shape(samples)[-1] / sample_rate
    if seconds < MIN_SECONDS or not audio.any():
        return BeatGrid()
    rows = envelopes(audio)
    found = pulses(rows, tempo)
    if not found:
        return BeatGrid()
    reading = metre.best(rows, found, tempo)
    times = reading.beats / FRAME_RATE
    # A beat on the file's first sample may be measured a little before it; one on its end is not in it any more.
    inside = (times > -_EDGE) & (times < seconds - _EDGE)
    is_downbeat = (np.arange(len(times)) - reading.first_downbeat) % reading.beats_per_bar == 0
    slope = float(np.polyfit(np.arange(len(times)), times, 1)[0])
    return BeatGrid(
        tempo=60 / slope,
        beats=np.maximum(times[inside], 0.0),
        downbeats=np.maximum(times[inside & is_downbeat], 0.0),
        beats_per_bar=reading.beats_per_bar,
        confidence=float(np.clip(reading.regularity / _CLEAR, 0, 1) * min(1.0, inside.sum() / ENOUGH)),
    )


def pulses(rows: np.ndarray, tempo: float | None = None) -> list[tuple[np.ndarray, float]]:
    """Candidate pulses (ticks in frames, regularity) of `envelopes`, near an expected tempo too."""
    onsets = _MIX @ rows
    found = [(pulse.ticks(onsets, period), regularity) for period, regularity in pulse.periods(onsets, tempo)]
    return [(ticks, regularity) for ticks, regularity in found if len(ticks) > 1]
