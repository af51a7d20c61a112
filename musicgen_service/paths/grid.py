"""Where to cut a loop: whole bars, in powers of two, of the tempo asked for."""

from dataclasses import dataclass

import numpy as np

from musicgen_service.analysis.beats import BeatGrid

TOLERANCE = 0.15
"""By which share the tempo that was made may differ from the one asked for: so much stretching is hardly heard."""
BEATS_PER_BAR = 4
"""Where the music does not say."""
_STEADY = 0.04
"""By which share a cut's own tempo may differ from the recording's: more is a missed beat."""
_CONFIDENT = 0.05
"""What noise rarely reaches; quiet music without drums may have no more than this."""
_OCTAVES = (1.0, 2.0, 0.5)


@dataclass(frozen=True)
class Cut:
    """A part of a recording that can be a loop.

    Attributes
    ----------
    start, end : seconds
    beats : between them, of the tempo asked for
    """

    start: float
    end: float
    beats: int


def most_beats(bpm: float, seconds: float, per_bar: int) -> int:
    """Beats of the longest loop that fits: a power of two of bars, or of beats where not one bar does."""
    beats = seconds * bpm / 60 + 1e-6
    unit = per_bar if beats >= per_bar else 1
    return int(unit * 2 ** np.floor(np.log2(beats / unit)))


def cuts(grid: BeatGrid, bpm: float, longest: float, available: float) -> list[Cut]:
    """The longest loops that a recording has, one for each downbeat to start from.

    Parameters
    ----------
    grid : the recording's beats
    bpm : the tempo asked for; a grid of half or double that tempo serves as well
    longest : seconds that the loop may take at the tempo asked for
    available : seconds of the recording that may be used

    Returns
    -------
    Cuts of the same number of beats, the earliest first; empty when the grid is no grid of this tempo
    """
    octave = _octave(grid.tempo / bpm)
    if octave is None or grid.confidence < _CONFIDENT:
        return []
    per_bar = grid.beats_per_bar or BEATS_PER_BAR
    beats = most_beats(bpm, longest, per_bar)
    while True:
        found = [cut for first in grid.downbeats if (cut := _cut(grid, first, beats, octave, available))]
        if found or beats in (1, per_bar):
            return found
        beats //= 2


def own_grid(envelope: np.ndarray, hop: float, bpm: float, longest: float, available: float) -> list[Cut]:
    """Loops on the grid of the tempo asked for, whatever the music does, its beats where most sets in.

    Parameters
    ----------
    envelope : how strongly something sets in, every `hop` seconds
    """
    beat = 60 / bpm
    phases = np.arange(0, beat, hop)
    steps = np.arange(int(available / beat))
    frames = np.minimum(np.round((phases[:, None] + steps * beat) / hop).astype(int), len(envelope) - 1)
    phase = float(phases[np.argmax(envelope[frames].mean(axis=1))])
    beats = most_beats(bpm, longest, BEATS_PER_BAR)
    starts = phase + beat * np.arange(BEATS_PER_BAR)
    return [Cut(start, start + beats * beat, beats) for start in starts if start + beats * beat <= available]


def _octave(ratio: float) -> float | None:
    """Beats of the grid to one beat of the tempo asked for; None when they do not belong together."""
    return next((octave for octave in _OCTAVES if abs(ratio / octave - 1) <= TOLERANCE), None)


def _cut(grid: BeatGrid, first: float, beats: int, octave: float, available: float) -> Cut | None:
    """The cut from a downbeat on, if the recording reaches that far and keeps its tempo."""
    index = int(np.argmin(np.abs(grid.beats - first)))
    last = index + beats * octave
    if last > len(grid.beats) - 1:
        return None
    end = float(np.interp(last, np.arange(len(grid.beats)), grid.beats))
    start = float(grid.beats[index])
    tempo = 60 * beats * octave / (end - start)
    if end > available or abs(tempo / grid.tempo - 1) > _STEADY:
        return None
    return Cut(start, end, beats)
