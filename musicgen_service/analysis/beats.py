"""Tempo, beats and bars of a recording."""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from musicgen_service.analysis import metre, pulse
from musicgen_service.analysis.envelopes import FRAME_RATE, envelopes, mono

MIN_SECONDS = 1.0
_MIX = np.array([1.0, 1.0, 0.5, 0.3, 0.3])  # weights of the envelopes when searching for pulses
_EDGE = 0.03  # seconds
MIN_BEATS = 8  # fewer may be evenly spaced by chance
_FULL_CONFIDENCE = 0.35  # regularity of an unmistakable pulse


@dataclass(frozen=True)
class BeatGrid:
    """The metrical grid of a recording; empty and zero when there are no beats.

    Attributes
    ----------
    tempo : beats per minute, from a line fitted to the beats
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
    """Finds the beats and bars of a recording."""

    def __call__(self, samples: np.ndarray, sample_rate: int, tempo: float | None, /) -> BeatGrid:
        """See `track`, which is one implementation."""
        ...


def track(samples: np.ndarray, sample_rate: int, tempo: float | None = None) -> BeatGrid:
    """Find the beats and bars of a recording.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    tempo : the requested tempo, if any: decides between half and double tempo, but clear evidence of another
        tempo overrides it
    """
    audio = mono(samples, sample_rate)
    seconds = np.shape(samples)[-1] / sample_rate
    if seconds < MIN_SECONDS or not audio.any():
        return BeatGrid()
    rows = envelopes(audio)
    candidates = pulses(rows, tempo)
    if not candidates:
        return BeatGrid()
    reading = metre.best(rows, candidates, tempo)
    times = reading.beats / FRAME_RATE
    # A beat on the file's first sample may be measured slightly before it; one on its end is no longer inside.
    inside = (times > -_EDGE) & (times < seconds - _EDGE)
    is_downbeat = (np.arange(len(times)) - reading.first_downbeat) % reading.beats_per_bar == 0
    slope = float(np.polyfit(np.arange(len(times)), times, 1)[0])
    return BeatGrid(
        tempo=60 / slope,
        beats=np.maximum(times[inside], 0.0),
        downbeats=np.maximum(times[inside & is_downbeat], 0.0),
        beats_per_bar=reading.beats_per_bar,
        confidence=float(np.clip(reading.regularity / _FULL_CONFIDENCE, 0, 1) * min(1.0, inside.sum() / MIN_BEATS)),
    )


def pulses(rows: np.ndarray, tempo: float | None = None) -> list[tuple[np.ndarray, float]]:
    """Find candidate pulses (ticks in frames, regularity) of `envelopes`, including pulses near an expected tempo."""
    onsets = _MIX @ rows
    candidates = [(pulse.ticks(onsets, period), regularity) for period, regularity in pulse.periods(onsets, tempo)]
    return [(ticks, regularity) for ticks, regularity in candidates if len(ticks) > 1]
