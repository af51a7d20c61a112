"""Choice among the possible beats and bars of a recording: each reading gets a score, and from it a probability."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis import pulse
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Metre:
    """A kind of bar: its name, its number of beats, and whether beats fall into three parts."""

    name: str
    beats: int
    is_compound: bool = False


METRES = (Metre("4/4", 4), Metre("3/4", 3), Metre("2/4", 2), Metre("6/8", 2, True), Metre("5/4", 5), Metre("7/4", 7))
_NEAR = 5  # frames within which an onset counts towards a metrical position
_CEILING = 8.0
_IN_TWOS, _IN_THREES = 7 * len(BANDS), 5 * len(BANDS)  # features of places
_STEPS = (1, 2, 3, 4)  # ticks of a pulse to a beat
_SAME = 0.02  # seconds: beats that are so near to others tell nothing new
_SHARE = 0.9  # of beats that may be the same as others
_SUBDIVISIONS = (0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)
_MIDDLE_TEMPO = 110.0  # beats per minute
_KNOTS, _KNOT_OCTAVES = np.arange(-3, 4), 0.5


@dataclass(frozen=True)
class Beats:
    """Possible beats.

    Attributes
    ----------
    frames : fractional frames, from a beat before the recording to one after
    regularity : of all onsets at the tempo of the beats, the same of low onsets, and of a network's output where there
        is one
    pulse_regularity : of all onsets at the tempo of the pulse that the beats are taken from
    """

    frames: Array
    regularity: Array
    pulse_regularity: float

    @cached_property
    def tempo(self) -> float:
        """Beats per minute."""
        return _tempo(self.frames)

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


def possible_beats(onsets: Array, rows: Array, pulses: Sequence[Array]) -> list[Beats]:
    """Beats on every tick of pulses, on every second to fourth one, and between ticks.

    Parameters
    ----------
    onsets : ``[frames]``, all of them
    rows : ``[rows, frames]`` of low onsets, and of a network's output where there is one
    pulses : the times of ticks, in frames
    """
    regularity = np.array([pulse.regularity(row) for row in (onsets, *rows)])
    result: list[Beats] = []
    for ticks in pulses:
        extended = np.concatenate([[2 * ticks[0] - ticks[1]], ticks, [2 * ticks[-1] - ticks[-2]]])
        grids = [extended[first::step] for step in _STEPS for first in range(step)]
        for grid in (*grids, (extended[:-1] + extended[1:]) / 2):
            if len(grid) < 2 or not pulse.MIN_TEMPO < _tempo(grid) < pulse.MAX_TEMPO:
                continue
            own = np.array([np.interp(_tempo(grid), pulse.TEMPI, row) for row in regularity])
            beats = Beats(grid, own, float(np.interp(_tempo(ticks), pulse.TEMPI, regularity[0])))
            if not any(beats.agree(other, _SAME) for other in result):
                result.append(beats)
    return result


def readings(beats: Beats) -> list[Reading]:
    """All readings with these beats: in each metre, from each beat."""
    return [Reading(beats, metre, first) for metre in METRES for first in range(metre.beats)]


def evidence(rows: Array, beats: Beats) -> Array:
    """Compute the features of all `readings` of beats, ``[readings, features]``.

    Parameters
    ----------
    rows : ``[rows, frames]``, widened
    """
    levels = _levels(rows, beats.frames)
    onsets, network = levels[: len(BANDS)], levels[len(BANDS) :]  # no row where no network has listened
    octaves = float(np.log2(beats.tempo / _MIDDLE_TEMPO))
    tempo = np.maximum(0, 1 - np.abs(octaves / _KNOT_OCTAVES - _KNOTS))  # weights of tempi are a line through points
    unsteadiness = float(np.log(np.diff(beats.frames)).std())
    in_threes = np.array([float(metre.beats % 2) for metre in METRES for _ in range(metre.beats)])
    shared = [octaves, octaves**2, *tempo, *beats.regularity, beats.pulse_regularity, unsteadiness,
              *_means(network, 1)[:, 0].ravel(), *np.ptp(_means(network[..., 0], 2), axis=1)]  # fmt: skip
    return np.hstack(
        [
            np.concatenate([_places(onsets, metre) for metre in METRES]),
            np.outer(in_threes, [1.0, octaves]),
            np.tile(shared, (len(in_threes), 1)),
            np.concatenate([_bar_features(network, metre) for metre in METRES]),
            np.concatenate([_thirds(levels, metre) for metre in METRES]),
            scipy.linalg.block_diag(*(np.tile([1.0, octaves], (metre.beats, 1)) for metre in METRES)),
        ]
    )


def _levels(rows: Array, frames: Array) -> Array:
    """Rows at the subdivisions of each beat, ``[rows, beats, subdivisions]``; NaN outside the recording."""
    steps = np.diff(frames, append=2 * frames[-1] - frames[-2])
    at = np.round(frames[:, None] + steps[:, None] * np.array(_SUBDIVISIONS)).astype(int)
    inside = (at >= 0) & (at < rows.shape[1])
    return np.where(inside, rows[:, np.clip(at, 0, rows.shape[1] - 1)], np.nan)


def _means(levels: Array, period: int) -> Array:
    """Means over every `period`-th beat from each of the first, ``[rows, beats, ...]`` to ``[rows, period, ...]``."""
    padding = [(0, 0), (0, -levels.shape[1] % period), *[(0, 0)] * (levels.ndim - 2)]
    bars = -(-levels.shape[1] // period)
    padded = np.pad(levels, padding, constant_values=np.nan).reshape(len(levels), bars, period, *levels.shape[2:])
    known = ~np.isnan(padded)
    result: Array = np.where(known, padded, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return result


def _places(levels: Array, metre: Metre) -> Array:
    """Means of onsets at each class of place in bars from each beat, ``[beats, classes * bands]``.

    In twos: first beat, third, second and fourth, the half beat after the first, other half beats, quarters, and the
    first beat of every other bar. In threes, which have other weights: first beat, others, half beats, quarters, and
    the first beat of every other bar. Bars of two are halves of bars of four; those of five and seven go with threes.
    """
    count = metre.beats
    on, half = _means(levels[..., 0], count), _means(levels[..., 3], count)
    quarters = np.repeat(_means(levels[..., [1, 5]], 1)[:, 0].mean(axis=1, keepdims=True), count, axis=1)
    # A chord may last two bars: the first beats of either odd or even bars, whichever have more.
    alternate = _means(levels[..., 0], 2 * count)
    every_other = np.maximum(alternate[:, :count], alternate[:, count:])
    if count % 2:
        others = (on.sum(axis=1, keepdims=True) - on) / (count - 1)
        halves = np.repeat(half.mean(axis=1, keepdims=True), count, axis=1)
        classes = np.stack([on, others, halves, quarters, every_other])
    else:
        third, even = np.roll(on, -2, axis=1), (np.roll(on, -1, axis=1) + np.roll(on, -3, axis=1)) / 2
        other_halves = (half.sum(axis=1, keepdims=True) - half) / (count - 1)
        classes = np.stack([on, third, even, half, other_halves, quarters, every_other])
    filled = np.minimum(classes, _CEILING).transpose(2, 0, 1).reshape(count, -1)
    before, after = (0, _IN_THREES) if count % 2 == 0 else (_IN_TWOS, 0)
    return np.pad(filled, ((0, 0), (before, after)))


def _bar_features(levels: Array, metre: Metre) -> Array:
    """What a network's output tells about bars from each beat, ``[beats, features]``.

    That is how the first beat differs from the others, and the first of every other bar from all first ones.
    """
    count = metre.beats
    on, alternate = _means(levels[..., 0], count), _means(levels[..., 0], 2 * count)
    difference = (on - on.mean(axis=1, keepdims=True)) * count / (count - 1)
    every_other = np.maximum(alternate[:, :count], alternate[:, count:]) - on
    third = np.roll(difference, -2, axis=1) if count == 4 else np.zeros_like(on)
    return np.concatenate([difference, every_other, third]).T


def _thirds(levels: Array, metre: Metre) -> Array:
    """In compound metres, how much more there is at thirds of beats than at halves, ``[beats, rows]``."""
    third, half, two_thirds = _means(levels[..., 2:5], 1)[:, 0].T
    return np.tile(metre.is_compound * ((third + two_thirds) / 2 - half), (metre.beats, 1))


def widened(rows: Array) -> Array:
    """Widen envelopes, so that an onset also counts for the frames around it."""
    return scipy.ndimage.maximum_filter1d(rows, _NEAR, axis=1)


def _share_near(times: Array, others: Array, tolerance: float) -> float:
    """Share of times (frames) that are within `tolerance` seconds of one of the others."""
    reach = tolerance * FRAME_RATE
    return float((np.searchsorted(others, times - reach) < np.searchsorted(others, times + reach)).mean())


def _tempo(frames: Array) -> float:
    return float(60 * FRAME_RATE / np.median(np.diff(frames)))
