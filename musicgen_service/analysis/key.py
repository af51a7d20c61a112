"""The key of a recording, from its chords."""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.chords import LABELS, ChordSegment, recognise
from musicgen_service.analysis.pitch import NOTE_NAMES

# How much a chord speaks for a key, by semitones from tonic to root: (of major chords, of minor chords).
_IN_MAJOR = ({0: 1.5, 5: 1.0, 7: 1.0}, {2: 0.9, 4: 0.9, 9: 1.0})
_IN_MINOR = ({3: 1.0, 7: 0.6, 8: 1.0, 10: 1.0}, {0: 1.5, 5: 1.0, 7: 0.9})
_FIRST = 0.1  # share of the evidence that the first chord is the tonic's


def _profiles() -> NDArray[np.float64]:
    """Weight of each chord of LABELS in each key, ``[24, 25]``: C to B major, then C to B minor."""
    table = np.zeros((24, len(LABELS)))
    for key in range(24):
        for quality, weights in enumerate(_IN_MAJOR if key < 12 else _IN_MINOR):
            for interval, weight in weights.items():
                table[key, 12 * quality + (key % 12 + interval) % 12] = weight
    return table


_PROFILES = _profiles()


def key(samples: np.ndarray, sample_rate: int) -> tuple[str, float]:
    """The key, such as "A minor", and the confidence (0 to 1) in it.

    Parameters
    ----------
    samples : float32 ``[channels, samples]`` or ``[samples]``
    sample_rate : samples per second
    """
    return of_chords(recognise(samples, sample_rate))


def of_chords(segments: list[ChordSegment]) -> tuple[str, float]:
    """The key in which chords are most at home, and the confidence in it: "C major" and 0 where there are none."""
    shares = np.zeros(len(LABELS))
    for segment in segments:
        shares[LABELS.index(segment.label)] += segment.end - segment.start
    shares[-1] = 0
    if not shares.any():
        return f"{NOTE_NAMES[0]} major", 0.0
    scores = _PROFILES @ (shares / shares.sum())
    first = next(LABELS.index(segment.label) for segment in segments if segment.label != LABELS[-1])
    scores[first] += _FIRST
    order = np.argsort(-scores)
    best, relative = int(order[0]), _relative(int(order[0]))
    rival = max(float(scores[k]) for k in order[1:] if k != relative)
    name = f"{NOTE_NAMES[best % 12]} {'major' if best < 12 else 'minor'}"
    return name, float(np.clip((scores[best] - rival) / scores[best] * 3, 0, 1))


def _relative(number: int) -> int:
    """The key with the same notes: A minor (21) for C major (0), and back."""
    return 12 + (number + 9) % 12 if number < 12 else (number + 3) % 12
