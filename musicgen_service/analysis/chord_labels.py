"""The chords that have names, spelled as mir_eval reads them: "C:maj", "F#:min7", "Bb:maj/3", "N" for none."""

from functools import cache
from typing import NamedTuple

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


_DEGREES = ("1", "b2", "2", "b3", "3", "4", "b5", "5", "b6", "6", "b7", "7")
"""Basses, by their semitones above the root."""


class Chord(NamedTuple):
    """A chord apart from none: pitch class of its root, a key of QUALITIES, and pitch class of its bass."""

    root: int
    quality: str
    bass: int

    @property
    def label(self) -> str:
        """Its label, with the bass where that is not the root."""
        above = (self.bass - self.root) % 12
        return f"{NOTE_NAMES[self.root]}:{self.quality}{f'/{_DEGREES[above]}' if above else ''}"


@cache
def parse(label: str) -> Chord | None:
    """Split a label; None for `NO_CHORD`."""
    if label == NO_CHORD:
        return None
    name, _, kind = label.partition(":")
    quality, _, degree = kind.partition("/")
    root = NOTE_NAMES.index(name)
    return Chord(root, quality, (root + _DEGREES.index(degree or "1")) % 12)


@cache
def pitch_classes(label: str) -> NDArray[np.bool_]:
    """Which pitch classes a chord has, ``[12]``, C first, its bass among them; none of them for `NO_CHORD`."""
    sounding = np.zeros(12, bool)
    if chord := parse(label):
        sounding[[(chord.root + step) % 12 for step in QUALITIES[chord.quality]]] = True
        sounding[chord.bass] = True
    sounding.flags.writeable = False
    return sounding


def triad_shares() -> NDArray[np.float64]:
    """How much of each of TRIADS is in each of LABELS, ``[24, labels]``: what a chord says about a key.

    A chord with a third counts as the triad of its root with that third, one without as half of each; none as none.
    """
    table = np.zeros((len(TRIADS), len(LABELS)))
    for column, label in enumerate(LABELS[:-1]):
        chord = parse(label)
        assert chord is not None
        steps = QUALITIES[chord.quality]
        table[[chord.root, 12 + chord.root], column] = (1, 0) if 4 in steps else (0, 1) if 3 in steps else (0.5, 0.5)
    return table
