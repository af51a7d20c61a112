"""Evidence for each way to read the beats of a recording: what is heard at the places of its bars."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis import beat_network, peaks, pulse
from musicgen_service.analysis.beat_levels import BeatLevels
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import METRES, Beats, Metre

Array = NDArray[np.float64]
ACTIVATION = 8.0  # of a beat that a network is certain of: onsets are up to so many times their mean
_NEAR = 5  # frames within which an onset counts towards a metrical position
_CEILING = 8.0
_IN_TWOS, _IN_THREES = 7 * len(BANDS), 5 * len(BANDS)  # features of places
_SUBDIVISIONS = (0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)
_QUARTERS, _HALF, _THIRDS = [1, 5], 3, slice(2, 5)  # places of them
_MIDDLE_TEMPO, _MIDDLE_BAR = 110.0, 2.0  # beats per minute, seconds
_TEMPO_KNOTS, _BAR_KNOTS = np.arange(-1.5, 1.6, 0.5), np.arange(-1.5, 1.6, 0.5)  # octaves
_ONSET_KNOTS, _HEARD_KNOTS = np.arange(-1.0, 3.1, 0.5), np.arange(-1.5, 1.6, 0.5)  # octaves
_PEAK, _PEAK_DISTANCE = 1.0, 6  # least height and distance, in means and frames, of an onset that is counted
_BEAT_PEAK = 1.2  # of a network's activation
_LEAST_ONSETS, _LEAST_HEARD = 1e-3, 0.1  # a beat, and a second
_DOUBT = 2.0  # comparisons of bars that count as unlike ones
_LAGS = 1 + 2 * max(metre.beats for metre in METRES)
_ONSETS, _CHANGES, _NETWORK = slice(0, 3), slice(3, len(BANDS)), slice(len(BANDS), None)
_BEATS = slice(len(BANDS), None, 2)  # of networks, each of which has a row for downbeats, too
_LEAST_LIKELIHOOD = -9.0  # a logarithm


@dataclass(frozen=True)
class Sound:
    """What the evidence is taken from.

    Attributes
    ----------
    rows : ``[rows, frames]`` from `envelopes`, and two of each network that has listened
    rises : of loudness in narrow bands, ``[bands, frames]``; see `beats.Measured`
    regularity : of all onsets, of low ones, and of each network's beats, ``[kinds, pulse.TEMPI]``
    tempi : logarithms of the probabilities of `beat_network.TEMPI`
    """

    rows: Array
    rises: Array
    regularity: Array
    tempi: Array

    @classmethod
    def of(cls, rows: Array, rises: Array, onsets: Array, tempi: Array) -> "Sound":
        """Measure regularity.

        Parameters
        ----------
        onsets : ``[frames]``, all of them
        """
        heard = (onsets, rows[0], *rows[_BEATS])
        return cls(rows, rises, np.array([pulse.regularity(row) for row in heard]), tempi)

    @cached_property
    def wide(self) -> Array:
        """Rows and rises, whose onsets also count for the frames around them, ``[rows and bands, frames]``."""
        wide: Array = scipy.ndimage.maximum_filter1d(np.concatenate([self.rows, self.rises]), _NEAR, axis=1)
        return wide

    @property
    def beats(self) -> Array:
        """Beats that networks hear, ``[networks, frames]``."""
        return self.rows[_BEATS]

    @cached_property
    def rates(self) -> list[float]:
        """Onsets per second, and beats per second that each network hears."""
        onsets = _rate(self.rows[_ONSETS].mean(axis=0), _PEAK)
        return [onsets, *(_rate(row, _BEAT_PEAK) for row in self.beats)]

    def regularity_at(self, tempo: float) -> Array:
        """Regularity at a tempo in beats per minute, ``[kinds]``."""
        return np.array([np.interp(tempo, pulse.TEMPI, row) for row in self.regularity])

    def likelihood_of(self, tempo: float) -> float:
        """How likely a network thinks a tempo in beats per minute, as a logarithm."""
        return max(float(np.interp(np.log2(tempo), np.log2(beat_network.TEMPI), self.tempi)), _LEAST_LIKELIHOOD)


class Evidence:
    """Computes the features of readings of one recording.

    Parameters
    ----------
    sound : the recording, as it is or repeated
    once : the recording as it is
    """

    def __init__(self, sound: Sound, once: Sound) -> None:
        self._sound, self._once = sound, once

    def of(self, beats: Beats) -> Array:
        """The features of all `metre.readings` of beats, ``[readings, features]``."""
        levels = BeatLevels.at(self._sound.wide[: len(self._sound.rows)], beats.frames, _SUBDIVISIONS)
        own = self._sound.regularity_at(beats.tempo)
        octaves = float(np.log2(beats.tempo / _MIDDLE_TEMPO))
        unsteadiness = float(np.log(np.diff(beats.frames)).std())
        onsets, *network = self._once.rates
        per_beat = float(np.log2(60 * onsets / beats.tempo + _LEAST_ONSETS))
        heard = [float(np.log2(beats.tempo / 60 / max(rate, _LEAST_HEARD))) for rate in network]
        similar = [similarities(levels.deviations(part)) for part in (_ONSETS, _CHANGES, _NETWORK)]
        shared = [octaves, octaves**2, *_knots(octaves, _TEMPO_KNOTS), *own, beats.pulse_regularity, unsteadiness,
                  self._sound.likelihood_of(beats.tempo),
                  *_knots(per_beat, _ONSET_KNOTS), *(knot for value in heard for knot in _knots(value, _HEARD_KNOTS)),
                  *levels.means(1)[_NETWORK, 0].ravel(), *np.ptp(levels.means(2)[_NETWORK, :, 0], axis=1)]  # fmt: skip
        shared += list(similar[0][1:5])
        once = self._once.regularity_at(beats.tempo)
        loop = [1.0, *(once - own), *once] if beats.per_loop else [0.0] * (1 + 2 * len(own))
        shared += loop
        in_threes = np.array([float(metre.beats % 2) for metre in METRES for _ in range(metre.beats)])
        return np.hstack(
            [
                np.concatenate([_places(levels, metre) for metre in METRES]),
                np.outer(in_threes, [1.0, octaves]),
                np.tile(shared, (len(in_threes), 1)),
                np.concatenate([_bar_features(levels, metre) for metre in METRES]),
                np.concatenate([_thirds(levels, metre) for metre in METRES]),
                np.concatenate([np.tile(_bars(similar, beats, metre), (metre.beats, 1)) for metre in METRES]),
                scipy.linalg.block_diag(*(np.tile([1.0, octaves], (metre.beats, 1)) for metre in METRES)),
            ]
        )


def _rate(row: Array, height: float) -> float:
    """Peaks per second."""
    return len(peaks.find(row, height, _PEAK_DISTANCE)) / len(row) * FRAME_RATE


def _knots(octaves: float, knots: Array) -> list[float]:
    """Weights of knots between which a value lies: a sum over them is a line through points."""
    step = knots[1] - knots[0]
    return list(np.maximum(0, 1 - np.abs(np.clip(octaves, knots[0], knots[-1]) - knots) / step))


def similarities(vectors: Array) -> Array:
    """How alike ``[beats, features]`` are to those so many beats later, ``[lags]``, from -1 to 1."""
    power = float((vectors**2).sum(axis=1).mean()) + 1e-9
    result = np.zeros(_LAGS)
    for lag in range(1, min(_LAGS, len(vectors))):
        products = float(np.vdot(vectors[lag:], vectors[:-lag]))
        result[lag] = products / power / (len(vectors) - lag + _DOUBT)
    return result


def _bars(similar: list[Array], beats: Beats, metre: Metre) -> list[float]:
    """What tells how long bars are: how alike they are, their length, and whether they fill a loop."""
    count = metre.beats
    result = []
    for values in similar:
        result += [values[count], values[2 * count], values[count] - values[1:count].max()]
    octaves = float(np.log2(60 * count / beats.tempo / _MIDDLE_BAR))
    bars = beats.per_loop / count
    is_whole = bars >= 1 and bars == int(bars)
    is_usual = is_whole and int(bars) & (int(bars) - 1) == 0
    return [*result, octaves, octaves**2, *_knots(octaves, _BAR_KNOTS), float(is_whole), float(is_usual)]


def _places(levels: BeatLevels, metre: Metre) -> Array:
    """Means of onsets at each class of place in bars from each beat, ``[beats, classes * bands]``.

    In twos: first beat, third, second and fourth, the half beat after the first, other half beats, quarters, and the
    first beat of every other bar. In threes, which have other weights: first beat, others, half beats, quarters, and
    the first beat of every other bar. Bars of two are halves of bars of four; those of five and seven go with threes.
    """
    count, bands = metre.beats, len(BANDS)
    on, half = (levels.means(count)[:bands, :, place] for place in (0, _HALF))
    quarters = np.repeat(levels.means(1)[:bands, :, _QUARTERS].mean(axis=2), count, axis=1)
    every_other = levels.every_other(count)[:bands, :, 0]
    if count % 2:
        others = (on.sum(axis=1, keepdims=True) - on) / (count - 1)
        halves = np.repeat(half.mean(axis=1, keepdims=True), count, axis=1)
        classes = np.stack([on, others, halves, quarters, every_other])
    else:
        third, even = np.roll(on, -2, axis=1), (np.roll(on, -1, axis=1) + np.roll(on, -3, axis=1)) / 2
        other_halves = (half.sum(axis=1, keepdims=True) - half) / (count - 1)
        classes = np.stack([on, third, even, half, other_halves, quarters, every_other])
    filled = np.minimum(classes, _CEILING).transpose(2, 0, 1).reshape(count, -1)
    result = np.zeros((count, _IN_TWOS + _IN_THREES))
    result[:, slice(_IN_TWOS, None) if count % 2 else slice(_IN_TWOS)] = filled
    return result


def _bar_features(levels: BeatLevels, metre: Metre) -> Array:
    """What a network's output tells about bars from each beat, ``[beats, features]``.

    That is how the first beat differs from the others, and the first of every other bar from all first ones.
    """
    count = metre.beats
    difference, third, every_other = (part[_NETWORK] for part in levels.contrasts(count))
    # From the mean of the others.
    return np.concatenate([difference * count / (count - 1), every_other, third * count / (count - 1)]).T


def _thirds(levels: BeatLevels, metre: Metre) -> Array:
    """In compound metres, how much more there is at thirds of beats than at halves, ``[beats, rows]``."""
    third, half, two_thirds = levels.means(1)[:, 0, _THIRDS].T
    return np.tile(metre.is_compound * ((third + two_thirds) / 2 - half), (metre.beats, 1))
