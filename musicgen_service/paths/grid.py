"""Choice of the cut of a loop: a power of two of complete bars at the requested tempo."""

from dataclasses import dataclass, replace

import numpy as np

from musicgen_service.analysis.beats import BeatGrid

TOLERANCE = 0.15
"""Maximum relative deviation of the generated tempo from the requested one: this much stretching is barely audible."""
BEATS_PER_BAR = 4
"""Default when the metre is unknown."""
_MAX_TEMPO_DEVIATION = 0.04
"""Maximum relative deviation of a cut's tempo from the recording's: more indicates a missed beat."""
_BARS = (2, 3, 4)
"""Beats per bar of loops: other metres that are heard in generated music are mistakes more often than not."""
MIN_CONFIDENCE = 0.05
"""Confidence below which the beats of generated music are not used: noise rarely reaches it, and quiet music without
drums, whose tempo is known from the request, may have no more."""
LOW_CONFIDENCE = 0.15
"""Confidence below which nothing is aligned with the beats of a recording: there may be none."""
KICK_REACH = 0.05
"""Maximum seconds by which a cut is moved to begin on a kick."""
_OCTAVES = (1.0, 2.0, 0.5)


@dataclass(frozen=True)
class Cut:
    """A part of a recording that can be a loop.

    Attributes
    ----------
    start, end : seconds
    beats : number of beats between them at the requested tempo
    per_bar : beats in a bar
    """

    start: float
    end: float
    beats: int
    per_bar: int = BEATS_PER_BAR


def max_beats(bpm: float, seconds: float, per_bar: int) -> int:
    """Return the beats of the longest loop that fits: a power of two of bars, or of beats where no bar fits."""
    beats = seconds * bpm / 60 + 1e-6
    unit = per_bar if beats >= per_bar else 1
    return int(unit * 2 ** np.floor(np.log2(beats / unit)))


def cuts(grid: BeatGrid, bpm: float, max_seconds: float, available: float) -> list[Cut]:
    """Find the longest loops of a recording, one for each downbeat to start from.

    Parameters
    ----------
    grid : the recording's beats
    bpm : the requested tempo; a grid of half or double that tempo is accepted as well
    max_seconds : maximum length of the loop at the requested tempo
    available : seconds of the recording that may be used

    Returns
    -------
    Cuts with the same number of beats, the earliest first; empty when the grid does not have this tempo
    """
    octave = _octave(grid.tempo / bpm)
    if octave is None or grid.confidence < MIN_CONFIDENCE:
        return []
    per_bar = grid.beats_per_bar if grid.beats_per_bar in _BARS else BEATS_PER_BAR
    beats = max_beats(bpm, max_seconds, per_bar)
    while True:
        found = [_cut(grid, first, beats, octave, available) for first in grid.downbeats]
        result = [replace(cut, per_bar=per_bar) for cut in found if cut]
        if result or beats in (1, per_bar):
            return result
        beats //= 2


def cuts_on_fixed_grid(envelope: np.ndarray, hop: float, bpm: float, max_seconds: float, available: float) -> list[Cut]:
    """Find loops on a fixed grid of the requested tempo, regardless of the music's beats, aligned with its onsets.

    Parameters
    ----------
    envelope : onset strength every `hop` seconds
    """
    beat = 60 / bpm
    phases = np.arange(0, beat, hop)
    steps = np.arange(int(available / beat))
    frames = np.minimum(np.round((phases[:, None] + steps * beat) / hop).astype(int), len(envelope) - 1)
    phase = float(phases[np.argmax(envelope[frames].mean(axis=1))])
    beats = max_beats(bpm, max_seconds, BEATS_PER_BAR)
    starts = phase + beat * np.arange(BEATS_PER_BAR)
    return [Cut(start, start + beats * beat, beats) for start in starts if start + beats * beat <= available]


def on_kicks(cuts: list[Cut], kicks: np.ndarray, available: float) -> list[Cut]:
    """Move cuts to the kicks that they nearly begin on; all cuts unmoved where none of them does.

    Parameters
    ----------
    kicks : where kicks begin, in seconds
    available : seconds of the recording that may be used
    """
    moved = []
    for cut in cuts:
        shifts = kicks - cut.start
        shifts = shifts[(np.abs(shifts) <= KICK_REACH) & (cut.end + shifts <= available)]
        if shifts.size:
            shift = float(shifts[np.abs(shifts).argmin()])
            moved.append(replace(cut, start=cut.start + shift, end=cut.end + shift))
    return moved or cuts


def same_tempo(grid: BeatGrid, bpm: float) -> bool:
    """Whether a grid has a tempo, or its half or double, within TOLERANCE."""
    return _octave(grid.tempo / bpm) is not None


def _octave(ratio: float) -> float | None:
    """Return the grid's beats per beat of the requested tempo; None when the tempi do not match."""
    return next((octave for octave in _OCTAVES if abs(ratio / octave - 1) <= TOLERANCE), None)


def _cut(grid: BeatGrid, first: float, beats: int, octave: float, available: float) -> Cut | None:
    """Return the cut that starts at a downbeat, if the recording is long enough and keeps its tempo."""
    index = int(np.argmin(np.abs(grid.beats - first)))
    last = index + beats * octave
    if last > len(grid.beats) - 1:
        return None
    end = float(np.interp(last, np.arange(len(grid.beats)), grid.beats))
    start = float(grid.beats[index])
    tempo = 60 * beats * octave / (end - start)
    if end > available or abs(tempo / grid.tempo - 1) > _MAX_TEMPO_DEVIATION:
        return None
    return Cut(start, end, beats)
