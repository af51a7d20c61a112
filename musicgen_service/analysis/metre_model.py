"""How probable each possible reading of a recording is, and how probable that it has no beat.

All readings and "no beat" compete: that tells which beats a recording has. Which of them begin the bars is told by a
second model, in which readings with the same beats compete.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis import bar_evidence, conditional_logit, metre
from musicgen_service.analysis.conditional_logit import MODELS, Weights
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import Beats, Metre, Reading
from musicgen_service.analysis.metre_evidence import Evidence, Sound

Array = NDArray[np.float64]
_EXPECTED, _EXPECTED_OCTAVES = 12.0, 0.04
"""Score that an expected tempo adds to a reading at that tempo, and the width of the tolerance in octaves."""
_SAME_PULSE = 0.02
"""Octaves by which tempi of the same pulse may differ from multiples of one another."""
_MULTIPLES = np.log2([1 / 4, 1 / 3, 1 / 2, 1, 2, 3, 4])
"""Octaves between the tempi that the same pulse may be counted in."""
_LIKELY, _LEAST = 0.01, 1e-300  # probability of beats whose bars are listened to; whose logarithm is taken
BEAT_WEIGHTS, BAR_WEIGHTS = "metre_weights.json", "bar_weights.json"
"""Files of the weights of which beats there are, and of which of them begin bars."""
NO_BEAT = 0.5  # probability from which there is none
_QUANTILES = (0.8, 0.9, 0.97)
_SAME_BEATS = 0.07  # seconds between the beats of two pulses that are the same


class Heard(NamedTuple):
    """A recording as it is heard: as it is, or repeated.

    Attributes
    ----------
    sound : what the evidence is taken from
    once : the recording as it is
    possible : the possible beats
    """

    sound: Sound
    once: Sound
    possible: Sequence[Beats]


@dataclass(frozen=True)
class Candidate:
    """Possible beats of a recording.

    Attributes
    ----------
    reading : the most probable one with these beats
    probability : that these beats are right
    metre_probability : that, if they are, the kind of bar and its first beat are right, too
    """

    reading: Reading
    probability: float
    metre_probability: float

    @property
    def beats(self) -> Beats:
        """The beats."""
        return self.reading.beats

    @property
    def metre(self) -> Metre:
        """The kind of bar."""
        return self.reading.metre


def features(heard: Sequence[Heard]) -> Array:
    """Compute the features of a recording that tell whether it has a beat."""
    once = heard[0].once
    rows, network = once.rows, once.beats
    regularity = [_regularity(one) for one in heard]
    repeated = regularity[1][-1] if len(heard) > 1 else np.zeros(len(once.regularity))
    return np.array([1.0, *regularity[0][-1], *regularity[0][-6:].mean(axis=0), *repeated, float(len(heard) > 1),
                     np.log(rows.shape[1] / FRAME_RATE), rows[:3].std(), *rows[: len(BANDS)].std(axis=1),
                     *network.mean(axis=1), *network.std(axis=1), *np.quantile(network, _QUANTILES, axis=1).ravel(),
                     float(once.tempi.max()), *np.log1p(once.rates)])  # fmt: skip


def _regularity(heard: Heard) -> Array:
    """Regularity at the tempi of possible beats, ascending, ``[beats, kinds]``; zeros where there are none."""
    found = [heard.sound.regularity_at(beats.tempo) for beats in heard.possible]
    return np.sort(found or [np.zeros(len(heard.sound.regularity))], axis=0)


def evidence(heard: Sequence[Heard]) -> Array:
    """Compute the features of all readings of all possible beats, ``[readings, features]``."""
    parts = [Evidence(one.sound, one.once) for one in heard]
    return np.concatenate([part.of(beats) for part, one in zip(parts, heard, strict=True) for beats in one.possible])


def candidates(hearings: Sequence[Sequence[Heard]], tempo: float | None) -> list[Candidate]:
    """Rank possible beats, the most probable first; none where "no beat" is more probable than beats.

    Parameters
    ----------
    hearings : ways to hear the recording, all as probable: as it is and repeated, and as if it were the repeated one
    tempo : the expected tempo, if any
    """
    pulses = [beats for heard in hearings for one in heard for beats in one.possible]
    if not pulses:
        return []
    model = MODELS[len(hearings[0][0].once.beats) == 1]
    found = [_shares(model, heard, tempo) for heard in hearings]
    shares, none = np.concatenate([part for part, _ in found]) / len(hearings), np.mean([none for _, none in found])
    if none > NO_BEAT:
        return []
    of_beats: NDArray[np.intp] = np.repeat(np.arange(len(pulses)), len(shares) // len(pulses))
    by_beats = np.bincount(of_beats, shares).astype(float)
    length = hearings[0][0].once.rows.shape[1]
    groups = _same([beats.until(length) for beats in pulses], by_beats)
    groups.sort(key=lambda group: -by_beats[group].sum())
    totals = [float(by_beats[group].sum()) for group in groups]
    probability = conditional_logit.calibrated(conditional_logit.load(BEAT_WEIGHTS)[model], totals[0])
    rest = (1 - probability) / max(1 - totals[0], 1e-9)
    result: list[Candidate] = []
    for total, group in zip(totals, groups, strict=True):
        within = np.zeros(len(shares) // len(pulses))
        for member in group:
            # Which of the beats begin the bars is heard in each way, too.
            np.add.at(within, metre.same_readings(pulses[member], pulses[group[0]]), shares[of_beats == member])
        best = int(within.argmax())
        reading = metre.readings(pulses[group[0]])[best]
        bars = conditional_logit.calibrated(
            conditional_logit.load(BAR_WEIGHTS)[model], float(within[best] / within.sum())
        )
        result.append(Candidate(reading, total * rest if result else probability, bars))
    return result


def _shares(model: str, heard: Sequence[Heard], tempo: float | None) -> tuple[Array, float]:
    """Probabilities, before calibration, of all readings, and of "no beat"; an expected tempo decides the octave."""
    tempi = np.array([beats.tempo for one in heard for beats in one.possible])
    if not len(tempi):
        return np.zeros(0), 1.0
    found = evidence(heard)
    shares, none = conditional_logit.softmax(conditional_logit.load(BEAT_WEIGHTS)[model], found, features(heard))
    by_beats = shares.reshape(len(tempi), -1)
    if tempo:
        by_beats = _in_octave(by_beats, tempi, tempo)
    return _with_bars(conditional_logit.load(BAR_WEIGHTS)[model], heard, by_beats, found).ravel(), none


def _with_bars(fitted: Weights, heard: Sequence[Heard], shares: Array, found: Array) -> Array:
    """Decide with the second model, too, which of likely beats begin bars.

    Parameters
    ----------
    shares : probabilities of all readings, ``[beats, readings]``
    found : the `evidence`
    """
    result = shares.copy()
    every = [(one.sound, beats) for one in heard for beats in one.possible]
    of_beats = found.reshape(*shares.shape, -1)
    for number in np.flatnonzero(shares.sum(axis=1) > _LIKELY):
        scores = conditional_logit.scores(fitted, bars_evidence(*every[number], of_beats[number]))
        # A geometric mean of what both models say.
        both = scipy.special.softmax((np.log(np.maximum(shares[number], _LEAST)) + scores) / 2)
        result[number] = shares[number].sum() * both
    return result


def bars_evidence(sound: Sound, beats: Beats, found: NDArray[np.floating]) -> Array:
    """Compute the features by which readings with the same beats compete, beside their `evidence`."""
    return np.hstack([found, bar_evidence.evidence(sound, beats)])


def _in_octave(shares: Array, tempi: Array, tempo: float) -> Array:
    """Move the probabilities of readings to those of the same pulse that have an expected tempo.

    An expectation is no evidence: what is heard at no multiple of the tempo keeps its probability, and all that is
    heard of a pulse, however it is counted, stays as probable as it was.

    Parameters
    ----------
    shares : ``[beats, readings of each]``
    tempi : of the beats
    tempo : the expected one
    """
    of_beats = shares.sum(axis=1)
    octaves = np.log2(tempi / tempo)
    favoured = of_beats * np.exp(_EXPECTED * np.exp(-0.5 * (octaves / _EXPECTED_OCTAVES) ** 2))
    apart = octaves[:, None] - octaves
    same = (np.abs(apart[..., None] - _MULTIPLES) < _SAME_PULSE).any(axis=2)
    moved = favoured * (same @ (of_beats / np.maximum(same @ favoured, 1e-300)))
    result: Array = shares * (moved / np.maximum(of_beats, 1e-300))[:, None]
    return result


def _same(pulses: Sequence[Beats], shares: Array) -> list[list[int]]:
    """Group pulses with nearly the same beats in a recording; the first of each group has the largest share."""
    groups: list[list[int]] = []
    for number in np.argsort(-shares):
        for group in groups:
            if pulses[number].agree(pulses[group[0]], _SAME_BEATS):
                group.append(int(number))
                break
        else:
            groups.append([int(number)])
    return groups
