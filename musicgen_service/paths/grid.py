"""Choice of the cut of a loop: a power of two of complete bars at the requested tempo."""

from dataclasses import dataclass, replace

import numpy as np

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.paths import seam

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
KICK_REACH = 0.05
"""Maximum seconds by which a cut is moved to begin on a kick."""
ROUNDING = 1e-6
"""Seconds by which bars may be longer than what they fit in."""
_OCTAVES = (1.0, 2.0, 0.5)


@dataclass(frozen=True)
class Cut:
    """A part of a recording that can be a loop.

    Attributes
    ----------
    start, end : seconds
    beats : number of beats between them at the requested tempo
    per_bar : beats in a bar
    metre : the kind of bar, such as "6/8"
    """

    start: float
    end: float
    beats: int
    per_bar: int = BEATS_PER_BAR
    metre: str = "4/4"


@dataclass(frozen=True)
class Bars:
    """Bars that begin at the time 0, and after a number of which the music repeats.

    Attributes
    ----------
    seconds : length of a bar
    per_bar : beats in a bar
    metre : the kind of bar, such as "6/8"
    count : bars after which the music repeats
    """

    seconds: float
    per_bar: int
    metre: str
    count: int

    def on(self, grid: BeatGrid) -> BeatGrid:
        """Return the grid with these bars in place of its own; each begins on the beat that is near it, if one is."""
        if not len(grid.beats):
            return grid
        lines = np.arange(0.0, float(grid.beats[-1]) + self.seconds, self.seconds)
        nearest = grid.beats[np.abs(lines[:, None] - grid.beats).argmin(axis=1)]
        downbeats = np.unique(nearest[np.abs(nearest - lines) <= self._near])
        return replace(grid, downbeats=downbeats, beats_per_bar=self.per_bar, metre=self.metre)

    def from_first(self, cuts: list[Cut]) -> list[Cut]:
        """The cuts that begin with the first bar; all of them where none does."""
        period = self.seconds * self.count
        return [cut for cut in cuts if abs(cut.start - round(cut.start / period) * period) <= self._near] or cuts

    @property
    def _near(self) -> float:
        return self.seconds / self.per_bar / 2


def lengths(bpm: float, seconds: float, per_bar: int, bars: int = 1) -> list[int]:
    """Return the beats that a loop may have, the most first.

    Parameters
    ----------
    seconds : the longest that it may be
    per_bar : beats in a bar
    bars : bars that are kept together, where so many fit

    Returns
    -------
    `bars` times a power of two of bars, then powers of two of bars; powers of two of beats where no bar fits
    """
    most = (seconds + ROUNDING) * bpm / 60
    units = [unit for unit in dict.fromkeys((per_bar * bars, per_bar)) if unit <= most] or [1]
    return [unit * 2**power for unit in units for power in reversed(range(int(np.log2(most / unit)) + 1))]


def cuts(grid: BeatGrid, bpm: float, max_seconds: float, available: float, bars: Bars | None = None) -> list[Cut]:
    """Find the longest loops of a recording, one for each downbeat to start from.

    Parameters
    ----------
    grid : the recording's beats, whose downbeats are the places to start from
    bpm : the requested tempo; a grid of half or double that tempo is accepted as well
    max_seconds : maximum length of the loop at the requested tempo
    available : seconds of the recording that may be used
    bars : those of the recording, where they are known

    Returns
    -------
    Cuts with the same number of beats, the earliest first; empty when the grid does not have this tempo
    """
    octave = _octave(grid.tempo / bpm)
    if octave is None or grid.confidence < MIN_CONFIDENCE:
        return []
    if bars is not None:
        grid, per_bar, metre = bars.on(grid), bars.per_bar, bars.metre
    else:
        per_bar = grid.beats_per_bar if grid.beats_per_bar in _BARS else BEATS_PER_BAR
        metre = grid.metre if (grid.beats_per_bar, octave) == (per_bar, 1) else f"{per_bar}/4"
    for beats in lengths(bpm, max_seconds, per_bar, bars.count if bars else 1):
        found = [_cut(grid, first, beats, octave, available) for first in grid.downbeats]
        result = [replace(cut, per_bar=per_bar, metre=metre) for cut in found if cut]
        if result:
            return bars.from_first(result) if bars else result
    return []


def cuts_on_fixed_grid(
    envelope: np.ndarray,
    hop: float,
    bpm: float,
    max_seconds: float,
    available: float,
    bars: Bars | None = None,
) -> list[Cut]:
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
    per_bar, metre = (bars.per_bar, bars.metre) if bars else (BEATS_PER_BAR, f"{BEATS_PER_BAR}/4")
    beats = lengths(bpm, max_seconds, per_bar, bars.count if bars else 1)[0]
    starts = phase + beat * np.arange(per_bar)
    length = beats * beat
    found = [Cut(start, start + length, beats, per_bar, metre) for start in starts if start + length <= available]
    return bars.from_first(found) if bars else found


def on_kicks(cuts: list[Cut], kicks: np.ndarray, available: float) -> list[Cut]:
    """Move cuts to the kicks that they nearly begin on, and leave out those that begin on none.

    A loop without enough sound before it begins with what follows its end (see `seam.cut_loop`): there, the kick at its
    end is the one that is heard.

    Parameters
    ----------
    kicks : where kicks begin, in seconds
    available : seconds of the recording that may be used
    """
    moved = []
    for cut in cuts:
        shifts = kicks - (cut.start if cut.start >= seam.LEAD else cut.end)
        inside = (cut.start + shifts >= 0) & (cut.end + shifts <= available)
        shifts = shifts[(np.abs(shifts) <= KICK_REACH) & inside]
        if shifts.size:
            shift = float(shifts[np.abs(shifts).argmin()])
            moved.append(replace(cut, start=cut.start + shift, end=cut.end + shift))
    return moved


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
