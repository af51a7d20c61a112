"""Keys, and chords as degrees of a key: "ii7", "bVII", "vii°", "V7/vi"."""

import re
from typing import NamedTuple

from musicgen_service.analysis.chord_labels import Chord
from musicgen_service.analysis.chord_symbols import note, read_quality, shift, split_bass
from musicgen_service.analysis.pitch import NOTE_NAMES

KEY = r"([A-Ga-g])([#b]*)(?:[\s-]*((?i:major|maj|minor|min)|m\b))?"
"""Three groups: letter, accidentals and mode, which is major where there is none."""
_MAJOR, _MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
_DEGREES = ("I", "II", "III", "IV", "V", "VI", "VII")
_NUMERALS = "|".join(sorted((*_DEGREES, *map(str.lower, _DEGREES)), key=len, reverse=True))
_NUMERAL = re.compile(rf"([#b]*)({_NUMERALS})(.*)")
_OWN_THIRD = re.compile(r"m(?!aj)|-|dim|[o°ø+]|hdim|half|aug|sus")
"""Beginnings of kinds that say themselves which third a chord has."""


class Key(NamedTuple):
    """A key: pitch class of its tonic, and its mode."""

    tonic: int
    is_minor: bool

    def __str__(self) -> str:
        return f"{NOTE_NAMES[self.tonic]} {'minor' if self.is_minor else 'major'}"


def key_of(letter: str, accidentals: str, mode: str | None) -> Key:
    """The key that the groups of `KEY` name."""
    return Key(note(letter, accidentals), (mode or "").lower() in ("minor", "min", "m"))


def is_numeral(text: str) -> bool:
    """Whether a chord is written as a Roman numeral, and can be read in some key."""
    return read(text, Key(0, is_minor=False)) is not None


def read(text: str, key: Key) -> str | None:
    """Read a Roman numeral as a chord of a key.

    Capitals are major and small letters minor. The degrees of a minor key are those of the natural minor scale; a flat
    counts from the major scale, so that "bVII" is G in A minor as in A major. "V/vi" is the fifth of the sixth.

    Returns
    -------
    The label of the chord; None where it cannot be read
    """
    found = _NUMERAL.fullmatch(text)
    if found is None:
        return None
    accidentals, numeral, rest = found.groups()
    kind, slash, target = rest.rpartition("/")
    if slash and (applied := _NUMERAL.fullmatch(target)):
        if applied[3]:
            return None
        key, rest = Key(_root(applied[1], applied[2], key), False), kind
    root = _root(accidentals, numeral, key)
    kind, bass = split_bass(rest, root)
    if numeral.islower() and not _OWN_THIRD.match(kind):
        kind = f"m{kind}"
    quality = read_quality(kind)
    return None if bass is None or quality is None else Chord(root, quality, bass).label


def _root(accidentals: str, numeral: str, key: Key) -> int:
    scale = _MINOR if key.is_minor and "b" not in accidentals else _MAJOR
    return (key.tonic + scale[_DEGREES.index(numeral.upper())] + shift(accidentals)) % 12
