"""The melody and the bass among notes that may have been played."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.note_tracking import Candidates
from musicgen_service.analysis.transcription import Note, Transcription

Array = NDArray[np.float64]
_TOGETHER = 0.06  # seconds within which notes begin together
_PHRASE = 4.0  # seconds around a note whose pitches it is compared with
_LEAP = 7  # semitones that a voice moves by freely
_LEAP_COST = 0.3  # of each further semitone
_MIN_GAP = 0.05  # seconds between the onsets of a voice
_LOOK_BACK = 32  # candidates among which the note before is sought, beside the best of all before them
_REGISTER = 60  # MIDI: middle C


class Voice(NamedTuple):
    """How likely candidates are notes of a voice: a logistic regression (`bench/fit_notes.py`).

    Attributes
    ----------
    weights : of each of `evidence`
    bias : added to their sum
    """

    weights: Mapping[str, float]
    bias: float


MELODY = Voice(
    MappingProxyType(
        {
            "onset": 4.19,
            "body": 1.29,
            "rise": 4.91,
            "harmonic": 0.8,
            "above": -3.02,
            "below": -0.61,
            "relative": 0.69,
            "share_below": 0.6,
        }
    ),
    -4.53,
)
BASS = Voice(
    MappingProxyType(
        {
            "onset": 4.07,
            "body": 0.34,
            "rise": 5.82,
            "harmonic": 0.95,
            "below": -3.54,
            "register": 0.27,
            "relative": -0.39,
            "share_below": -6.31,
        }
    ),
    -3.34,
)


def transcribe(notes: Candidates) -> Transcription:
    """Choose the notes of the melody and those of the bass."""
    features = evidence(notes)
    melody = chain(notes, log_odds(features, MELODY))
    gains = log_odds(features, BASS)
    gains[melody] = -np.inf
    return Transcription(_notes(notes, melody), _notes(notes, chain(notes, gains)))


def evidence(notes: Candidates) -> dict[str, Array]:
    """What speaks for or against each candidate, by name, each ``[candidates]``.

    `above` and `below` count the candidates that sound with it, by how clear they are; `relative` is its pitch against
    the mean of four seconds on either side, in octaves; `share_below` the share of the candidates there that are lower.
    """
    clarity = notes.body * notes.onset
    pitches = notes.pitches.astype(np.float64)
    lasting = clarity * np.minimum(notes.ends - notes.starts, 1.0)
    above, below, relative, share_below = np.zeros((4, len(pitches)))
    firsts = np.searchsorted(notes.starts, notes.starts - _PHRASE)
    lasts = np.searchsorted(notes.starts, notes.starts + _PHRASE)
    for index, (first, last, start, pitch) in enumerate(zip(firsts, lasts, notes.starts, pitches, strict=True)):
        near = slice(first, last)
        at = start + _TOGETHER
        sounding = clarity[near] * ((notes.starts[near] <= at) & (notes.ends[near] > at))
        above[index] = sounding[pitches[near] > pitch].sum()
        below[index] = sounding[pitches[near] < pitch].sum()
        weights = lasting[near]
        relative[index] = (pitch - weights @ pitches[near] / weights.sum()) / 12
        share_below[index] = weights[pitches[near] < pitch].sum() / weights.sum()
    return {
        "onset": notes.onset,
        "body": notes.body,
        "rise": notes.rise,
        "harmonic": notes.harmonic,
        "above": above,
        "below": below,
        "register": (pitches - _REGISTER) / 12,
        "relative": relative,
        "share_below": share_below,
    }


def log_odds(features: Mapping[str, Array], voice: Voice) -> Array:
    """Logarithm of the odds that each candidate is a note of a voice."""
    weighted = [weight * features[name] for name, weight in voice.weights.items()]
    result: Array = voice.bias + np.sum(weighted, axis=0)
    return result


def chain(notes: Candidates, gains: Array) -> list[int]:
    """Choose candidates that follow each other: those of the highest sum of `gains`, less what leaps cost."""
    total, came_from = gains.copy(), np.full(len(gains), -1)
    last = 0  # before a rest that holds more candidates than are looked at: the one with the highest sum
    for index in range(len(gains)):
        first = max(0, index - _LOOK_BACK)
        last = first - 1 if first and total[first - 1] > total[last] else last
        earlier = np.arange(first, index) if last >= first else np.append(last, np.arange(first, index))
        since = notes.starts[index] - notes.starts[earlier]
        leaps = np.abs(notes.pitches[earlier] - notes.pitches[index])
        cost = _LEAP_COST * np.maximum(leaps - _LEAP, 0) / np.maximum(since, 1.0)
        before = np.where(since >= _MIN_GAP, total[earlier] - cost, 0.0)
        best = int(np.argmax(before)) if index else 0
        if index and before[best] > 0:
            total[index] += before[best]
            came_from[index] = earlier[best]
    path = []
    index = int(np.argmax(total)) if len(total) and total.max() > 0 else -1
    while index >= 0:
        path.append(index)
        index = int(came_from[index])
    return path[::-1]


def _notes(notes: Candidates, chosen: list[int]) -> list[Note]:
    """The chosen candidates as notes of one voice: each ends where the next begins, at the latest."""
    ends = np.minimum(notes.ends[chosen], np.append(notes.starts[chosen][1:], np.inf))
    return [
        Note(float(notes.starts[index]), float(end), int(notes.pitches[index]), int(notes.velocities[index]))
        for index, end in zip(chosen, ends, strict=True)
    ]
