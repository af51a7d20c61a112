"""The chords that have names, spelled as mir_eval reads them: "C:maj", "F#:min7", "N" for none."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.pitch import NOTE_NAMES

NO_CHORD = "N"
QUALITIES = {
    "maj": (0, 4, 7),
    "min": (0, 3, 7),
    "maj6": (0, 4, 7, 9),
    "min6": (0, 3, 7, 9),
    "7": (0, 4, 7, 10),
    "maj7": (0, 4, 7, 11),
    "min7": (0, 3, 7, 10),
    "minmaj7": (0, 3, 7, 11),
    "dim": (0, 3, 6),
    "dim7": (0, 3, 6, 9),
    "hdim7": (0, 3, 6, 10),
    "aug": (0, 4, 8),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
}
"""Semitones of each kind of chord above its root."""
TRIADS = (*(f"{name}:maj" for name in NOTE_NAMES), *(f"{name}:min" for name in NOTE_NAMES))
"""C to B major, then C to B minor."""
LABELS = (*TRIADS, *(f"{name}:{quality}" for quality in list(QUALITIES)[2:] for name in NOTE_NAMES), NO_CHORD)
"""All of them, `TRIADS` first and `NO_CHORD` last."""


@cache
def pitch_classes(label: str) -> NDArray[np.bool_]:
    """Which pitch classes a chord has, ``[12]``, C first; none of them for `NO_CHORD`."""
    sounding = np.zeros(12, bool)
    if label != NO_CHORD:
        root, quality = label.split(":")
        sounding[[(NOTE_NAMES.index(root) + step) % 12 for step in QUALITIES[quality]]] = True
    sounding.flags.writeable = False
    return sounding


def triad_shares() -> NDArray[np.float64]:
    """How much of each of TRIADS is in each of LABELS, ``[24, labels]``: what a chord says about a key.

    A chord with a third counts as the triad of its root with that third, one without as half of each; none as none.
    """
    table = np.zeros((len(TRIADS), len(LABELS)))
    for column, label in enumerate(LABELS[:-1]):
        root, quality = label.split(":")
        steps = QUALITIES[quality]
        major, minor = (1.0, 0.0) if 4 in steps else (0.0, 1.0) if 3 in steps else (0.5, 0.5)
        table[NOTE_NAMES.index(root), column] = major
        table[12 + NOTE_NAMES.index(root), column] = minor
    return table
