"""The key of a recording, from its chords and its pitch classes."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.chord_labels import TRIADS
from musicgen_service.analysis.pitch import NOTE_NAMES

Array = NDArray[np.float64]
KEYS = tuple(f"{name} {mode}" for mode in ("major", "minor") for name in NOTE_NAMES)
# How much a chord speaks for a key, by semitones from tonic to root: (of major chords, of minor chords).
_IN_MAJOR = ({0: 1.5, 5: 1.0, 7: 1.0}, {2: 0.9, 4: 0.9, 9: 1.0})
_IN_MINOR = ({3: 1.0, 7: 0.6, 8: 1.0, 10: 1.0}, {0: 1.5, 5: 1.0, 7: 0.9})
# How well pitch classes fit a major and a minor key, from the tonic up (Temperley, "The Cognition of Basic Musical
# Structures", 2001).
_MAJOR_PITCHES = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR_PITCHES = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)
_PITCHES, _PITCHES_ALONE = 0.2, 1.0  # what pitch classes count for beside chords, and where there are none
_FIRST = 0.08  # share of the evidence that the first chord is the tonic's
_TEMPERATURE = 0.08  # of the evidence, so that of keys with probability p a share near p is right
_CANDIDATES = 5  # that are named
_LEAST = 0.01  # confidence that a named key has


def _chord_profiles() -> Array:
    """Weight of each of TRIADS in each of KEYS, ``[24, 24]``."""
    table = np.zeros((24, len(TRIADS)))
    for number in range(24):
        for quality, weights in enumerate(_IN_MAJOR if number < 12 else _IN_MINOR):
            for interval, weight in weights.items():
                table[number, 12 * quality + (number % 12 + interval) % 12] = weight
    return table


def _pitch_profiles() -> Array:
    """How well each pitch class fits each of KEYS, ``[24, 12]``, each row of mean 0 and length 1."""
    rows = np.array([np.roll(row, tonic) for row in (_MAJOR_PITCHES, _MINOR_PITCHES) for tonic in range(12)])
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


_CHORD_PROFILES, _PITCH_PROFILES = _chord_profiles(), _pitch_profiles()


def rank(triads: Array, first: str | None, pitches: Sequence[Array], clarity: float) -> list[tuple[str, float]]:
    """The keys that a recording may be in, each with the confidence (0 to 1) in it, the likeliest first.

    Parameters
    ----------
    triads : share of the time that each of TRIADS has, ``[24]``; the rest has no chord
    first : the chord that it begins with, one of TRIADS, if it has chords
    pitches : how much of each pitch class is heard, ``[12]``, C first, by each of those that measured it
    clarity : from 0, where no pitches are heard and no key is named, to 1, where they leave no doubt; the confidences
        of all keys add up to it
    """
    deviations = np.array([heard - heard.mean() for heard in pitches]).T
    fits = _PITCH_PROFILES @ deviations / np.maximum(np.linalg.norm(deviations, axis=0), 1e-9)
    share = float(triads.sum())
    # The mean: where they disagree, no key has all the evidence.
    evidence = _CHORD_PROFILES @ triads + (share * _PITCHES + (1 - share) * _PITCHES_ALONE) * fits.mean(axis=1)
    if first is not None:
        evidence[TRIADS.index(first)] += _FIRST
    likely = np.exp((evidence - evidence.max()) / _TEMPERATURE)
    confidences = clarity * likely / likely.sum()
    best = np.argsort(-confidences)[:_CANDIDATES]
    return [(KEYS[place], float(confidences[place])) for place in best if confidences[place] >= _LEAST]
