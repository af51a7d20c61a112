"""The tempo map of a recording: where its beats and bars lie in a MIDI file."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.metre import METRES

TICKS = 480
"""Of a quarter note."""
_EIGHTH = TICKS // 2
_SIXTEENTH = TICKS // 4  # an incomplete first bar is counted in these: some programs know no 32nds
_COMPOUND = frozenset(["9/8", "12/8", *(metre.name for metre in METRES if metre.is_compound)])
_FAST = 180.0  # beats per minute from which those of bars of five and seven are eighth notes
_ON_ZERO = 0.015  # seconds: a 16th that lasts less would have a tempo of 1,000 bpm, which programs refuse
_STEADY = 0.02  # seconds by which the beats of music with one tempo are off it at most
_PAUSE = 1.75  # how much longer than its neighbours an interval is that holds more than one beat
_NEIGHBOURS = 4  # on either side of it
_UNKNOWN = 0.5  # seconds of a beat where there are none: 120 bpm, as in a MIDI file without a tempo


class TimeSignature(NamedTuple):
    """A time signature and the tick from which it holds."""

    tick: int
    numerator: int
    denominator: int


@dataclass(frozen=True)
class TempoMap:
    """Times of a recording as ticks of a MIDI file.

    Attributes
    ----------
    times, ticks : points that belong together, ascending from 0; the tempo between two of them is steady
    signatures : time signatures, the first from tick 0
    beat : ticks of a beat
    """

    times: NDArray[np.float64]
    ticks: NDArray[np.int64]
    signatures: list[TimeSignature]
    beat: int = TICKS

    @property
    def tempi(self) -> list[tuple[int, int]]:
        """Ticks from which a tempo holds, with the microseconds of a quarter note."""
        lengths = np.round(1e6 * TICKS * np.diff(self.times) / np.diff(self.ticks)).astype(int)
        changes = np.flatnonzero(np.diff(lengths, prepend=-1))
        return [(int(self.ticks[place]), int(lengths[place])) for place in changes]

    def tick(self, seconds: float) -> int:
        """The tick nearest to a time; the last tempo holds to the end."""
        beyond = max(0.0, seconds - self.times[-1])
        per_second = (self.ticks[-1] - self.ticks[-2]) / (self.times[-1] - self.times[-2])
        return round(float(np.interp(seconds, self.times, self.ticks)) + beyond * per_second)


def of_grid(grid: BeatGrid) -> TempoMap:
    """The tempo map in which each beat of a grid lies on a beat, and each downbeat on the first of a bar.

    Music before the first downbeat fills bars, the first of which may be shorter than the others.
    """
    if len(grid.beats) < 2:
        return TempoMap(np.array([0.0, _UNKNOWN]), np.array([0, TICKS]), [TimeSignature(0, 4, 4)])
    beat = _beat(grid)
    counts = np.concatenate([[0], np.cumsum(_beats_between(grid))])
    downbeats = counts[np.searchsorted(grid.beats, grid.downbeats - 1e-6)] if len(grid.downbeats) else counts[:1]
    times = _steady(grid.beats, counts)
    lead = _lead(times, counts, beat) + beat * int(downbeats[0])
    ticks = beat * (counts - downbeats[0]) + lead
    if ticks[0]:
        times, ticks = np.append(0.0, times), np.append(0, ticks)
    else:
        times = np.append(0.0, times[1:])
    return TempoMap(times, ticks, _signatures(lead, beat * np.diff(downbeats), beat * grid.beats_per_bar, beat), beat)


def _beat(grid: BeatGrid) -> int:
    """Ticks of the note that is a beat: a dotted quarter in compound metres, an eighth where five or seven are fast."""
    if grid.metre in _COMPOUND:
        return 3 * _EIGHTH
    return _EIGHTH if grid.beats_per_bar in (5, 7) and grid.tempo > _FAST else TICKS


def _beats_between(grid: BeatGrid) -> NDArray[np.int64]:
    """How many beats there are from each beat to the next: more than one where the music pauses."""
    intervals = np.diff(grid.beats)
    usual = np.full(len(intervals), 60 / grid.tempo)
    if len(intervals) > 1:
        for number, first in enumerate(np.maximum(np.arange(len(intervals)) - _NEIGHBOURS, 0)):
            near = intervals[first : number + _NEIGHBOURS + 1]
            usual[number] = np.median(np.delete(near, number - first))
    return np.where(intervals > _PAUSE * usual, np.round(intervals / usual), 1).astype(np.int64)


def _steady(beats: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The beats, or those of the one tempo that they nearly have."""
    line = np.polyval(np.polyfit(counts, beats, 1), counts).astype(np.float64)
    return np.maximum(line, 0.0) if np.abs(line - beats).max() < _STEADY else beats


def _lead(beats: NDArray[np.float64], counts: NDArray[np.int64], beat: int) -> int:
    """The time before the first beat, in ticks, as a number of 16ths."""
    if beats[0] < _ON_ZERO:
        return 0
    interval = np.median(np.diff(beats[:9]) / np.diff(counts[:9]))
    return _SIXTEENTH * max(1, round(float(beats[0] / interval * beat / _SIXTEENTH)))


def _signatures(lead: int, bars: NDArray[np.int64], usual: int, beat: int) -> list[TimeSignature]:
    """Time signatures of a lead, then of these bars, then of `usual` ones, all in ticks."""
    parts = [(lead % usual, 1), (usual, lead // usual)]
    for bar in bars:
        # A long one holds a pause: usual bars, and what is left.
        whole = int(bar) // usual if bar >= 2 * usual else 0
        parts += [(usual, whole), (int(bar) - whole * usual, 1)]
    parts.append((usual, 1))
    signatures: list[TimeSignature] = []
    tick = 0
    for length, count in parts:
        if length and count:
            numerator, denominator = length // _SIXTEENTH, 16
            while numerator % 2 == 0 and denominator > (4 if beat == TICKS else 8):
                numerator, denominator = numerator // 2, denominator // 2
            if not signatures or signatures[-1][1:] != (numerator, denominator):
                signatures.append(TimeSignature(tick, numerator, denominator))
            tick += count * length
    return signatures
