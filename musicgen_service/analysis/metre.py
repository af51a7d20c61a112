"""The possible beats and bars of a recording."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import pulse
from musicgen_service.analysis.envelopes import FRAME_RATE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metre:
    """A kind of bar: its name, its number of beats, and whether beats fall into three parts."""

    name: str
    beats: int
    is_compound: bool = False


METRES = (Metre("4/4", 4), Metre("3/4", 3), Metre("2/4", 2), Metre("6/8", 2, True), Metre("5/4", 5), Metre("7/4", 7))
_STEPS = (1, 2, 3, 4)  # ticks of a pulse to a beat
_SAME = 0.02  # seconds: beats that are so near to others tell nothing new
_SHARE = 0.9  # of beats that may be the same as others
_LOOP_BARS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Beats:
    """Possible beats.

    Attributes
    ----------
    frames : fractional frames, from a beat before the recording to one after
    pulse_regularity : of all onsets at the tempo of the pulse that the beats are taken from
    per_loop : how many there are in the recording, if it is a loop that these beats are repeated with; otherwise 0
    """

    frames: Array
    pulse_regularity: float
    per_loop: int = 0

    @cached_property
    def tempo(self) -> float:
        """Beats per minute."""
        return _tempo(self.frames)

    def until(self, length: float) -> "Beats":
        """The beats up to one after so many frames, at least two: a loop's go on while it is repeated."""
        count = int(np.searchsorted(self.frames, length)) + 1
        return replace(self, frames=self.frames[: max(count, 2)])

    def agree(self, other: "Beats", tolerance: float) -> bool:
        """Whether nearly all beats, of these and of the others, are within `tolerance` seconds of one another."""
        if not 0.9 < self.tempo / other.tempo < 1.1:
            return False
        return min(_share_near(a.frames, b.frames, tolerance) for a, b in ((self, other), (other, self))) > _SHARE


@dataclass(frozen=True)
class Reading:
    """One interpretation of a recording: its beats, the kind of its bars, and which of the beats is the first's."""

    beats: Beats
    metre: Metre
    first_downbeat: int

    @property
    def downbeats(self) -> Array:
        """Those of the beats that begin a bar, in frames."""
        return self.beats.frames[self.first_downbeat :: self.metre.beats]


def possible_beats(pulses: Sequence[Array], regularity: Array) -> list[Beats]:
    """Beats on every tick of pulses, on every second to fourth one, and between ticks.

    Parameters
    ----------
    pulses : the times of ticks, in frames
    regularity : of all onsets at each of pulse.TEMPI
    """
    result: list[Beats] = []
    for ticks in pulses:
        extended = np.concatenate([[2 * ticks[0] - ticks[1]], ticks, [2 * ticks[-1] - ticks[-2]]])
        grids = [extended[first::step] for step in _STEPS for first in range(step)]
        own = float(np.interp(_tempo(ticks), pulse.TEMPI, regularity))
        for grid in (*grids, (extended[:-1] + extended[1:]) / 2):
            if len(grid) < 2 or not pulse.MIN_TEMPO < _tempo(grid) < pulse.MAX_TEMPO:
                continue
            beats = Beats(grid, own)
            if not any(beats.agree(other, _SAME) for other in result):
                result.append(beats)
    return result


def beats_of_loop(onsets: Array, length: float, regularity: Array) -> list[Beats]:
    """Beats of which a loop has a whole number, in whole bars: from its beginning, or where the onsets are.

    Parameters
    ----------
    onsets : ``[frames]`` of the loop, repeated
    length : of the loop, in frames
    regularity : of the onsets at each of pulse.TEMPI
    """
    result: list[Beats] = []
    for count in sorted({metre.beats * bars for metre in METRES for bars in _LOOP_BARS}):
        period = length / count
        tempo = 60 * FRAME_RATE / period
        if not pulse.MIN_TEMPO < tempo < pulse.MAX_TEMPO:
            continue
        own = float(np.interp(tempo, pulse.TEMPI, regularity))
        for first in (0.0, pulse.phase(onsets, period)):
            beats = Beats(np.arange(first - period, len(onsets) + period, period), own, count)
            if not any(beats.agree(other, _SAME) for other in result):
                result.append(beats)
    return result


def readings(beats: Beats) -> list[Reading]:
    """All readings with these beats: in each metre, from each beat."""
    return [Reading(beats, metre, first) for metre in METRES for first in range(metre.beats)]


def same_readings(beats: Beats, others: Beats) -> NDArray[np.intp]:
    """Return, of each of the `readings` with these beats, the number of the one with the same bars on `others`.

    Parameters
    ----------
    others : beats that agree with these
    """
    numbers = {(reading.metre.name, reading.first_downbeat): n for n, reading in enumerate(readings(others))}
    shift = int(np.abs(others.frames - beats.frames[0]).argmin()) - int(
        np.abs(beats.frames - others.frames[0]).argmin()
    )
    found = [
        numbers[reading.metre.name, (reading.first_downbeat + shift) % reading.metre.beats]
        for reading in readings(beats)
    ]
    return np.array(found, np.intp)


def _share_near(times: Array, others: Array, tolerance: float) -> float:
    """Share of times (frames) that are within `tolerance` seconds of one of the others."""
    reach = tolerance * FRAME_RATE
    return float((np.searchsorted(others, times - reach) < np.searchsorted(others, times + reach)).mean())


def _tempo(frames: Array) -> float:
    return float(60 * FRAME_RATE / np.median(np.diff(frames)))
