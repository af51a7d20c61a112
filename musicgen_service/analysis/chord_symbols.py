"""Chords as musicians write them, "F#m7b5/A", and as labels, "F#:hdim7/b3"."""

import re
import unicodedata
from functools import lru_cache

from musicgen_service.analysis.chord_labels import NO_CHORD, Chord, parse
from musicgen_service.analysis.pitch import NOTE_NAMES

_SYMBOLS = {
    **{"maj": "", "min": "m", "maj6": "6", "min6": "m6", "minmaj7": "m(maj7)", "min7": "m7", "hdim7": "m7b5"},
    **{name: name for name in ("7", "maj7", "dim", "dim7", "aug", "sus2", "sus4")},
}
_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_DEGREES = (0, 2, 4, 5, 7, 9, 11)
"""Semitones of the degrees 1 to 7 above a root."""
_SIGNS = str.maketrans(
    {
        **{"♯": "#", "♭": "b", "♮": "", "𝄪": "##", "𝄫": "bb", "−": "-", "‖": "||"},
        **{"∆": "Δ", "△": "Δ", "^": "Δ", "º": "°", "Ø": "ø", "∅": "ø"},
    }
)
_NOTE = re.compile(r"([A-Ga-g])([#b]*)")
_DEGREE = re.compile(r"([#b]*)(\d+)")
_WORDS = {
    **dict.fromkeys(("dim", "diminished", "°", "o"), "dim"),
    **dict.fromkeys(("hdim", "half-diminished", "halfdiminished", "half-dim", "halfdim", "h", "ø"), "hdim"),
    **dict.fromkeys(("aug", "augmented", "+"), "aug"),
    **dict.fromkeys(("maj", "major", "ma", "j", "δ"), "maj"),
    **dict.fromkeys(("min", "minor", "mi", "m", "-"), "m"),
    **dict.fromkeys(("sus", "suspended"), "sus"),
    **dict.fromkeys(("dom", "dominant"), ""),
    **{sign: sign for sign in ("add", "#", "b", "/")},
}
_WORD = re.compile("|".join([*map(re.escape, sorted(_WORDS, key=len, reverse=True)), r"\d+"]))
_KIND = re.compile(
    r"""
    (?P<third> mmaj | maj | m | dim | hdim | augmaj | aug )?
    (?P<number> 6/9 | 69 | 6 | 7 | 9 | 11 | 13 )?
    (?P<sus> sus[24]? )?
    (?: add[#b]?(?:2|4|9|11|13) | [#b](?:9|11|13) )*+
    (?P<fifth> aug | [#b]5 )?
    (?: add[#b]?(?:2|4|9|11|13) | [#b](?:9|11|13) )*+
    """,
    re.VERBOSE,
)
_NUMBERS = {"6/9": "6", "69": "6", "9": "7", "11": "7", "13": "7"}
"""Ninths and what is above them are left out."""
_QUALITIES = {
    **{"": "maj", "maj": "maj", "m": "min", "6": "maj6", "maj6": "maj6", "m6": "min6"},
    **{"7": "7", "maj7": "maj7", "m7": "min7", "mmaj7": "minmaj7"},
    **{"dim": "dim", "mb5": "dim", "dim7": "dim7", "hdim": "hdim7", "hdim7": "hdim7", "m7b5": "hdim7"},
    # The sevenths of augmented and suspended chords are left out: with them they are none of our kinds.
    **dict.fromkeys(("aug", "#5", "aug7", "7aug", "7#5", "augmaj7", "maj7aug", "maj7#5"), "aug"),
    **dict.fromkeys(("sus", "sus4", "7sus", "7sus4"), "sus4"),
    **dict.fromkeys(("sus2", "7sus2"), "sus2"),
}


def symbol(label: str) -> str:
    """Write a chord as musicians do: "F#m7" for "F#:min7", "N.C." for none."""
    chord = parse(label)
    if chord is None:
        return "N.C."
    bass = "" if chord.bass == chord.root else f"/{NOTE_NAMES[chord.bass]}"
    return NOTE_NAMES[chord.root] + _SYMBOLS[chord.quality] + bass


@lru_cache(4096)
def read(text: str) -> str | None:
    """Read a chord, in a musician's spelling or as a label.

    A chord with more notes than the kinds of chord here have is read as the one that it extends: "C9" as C7, "Cadd9"
    as C, "C7sus4" as Csus4. Capital and small letters of roots are the same.

    Returns
    -------
    Its label; None where it cannot be read, or is none of these kinds, such as "C5", which has no third
    """
    text = plain(text)
    if re.sub(r"[.\s]", "", text).lower() in ("n", "nc"):
        return NO_CHORD
    found = _NOTE.match(text)
    if found is None:
        return None
    root, rest = note(*found.groups()), text[found.end() :]
    if is_label := rest.startswith(":"):
        rest = rest[1:]
        if not rest:
            return None
    kind, bass = split_bass(rest, root, is_label)
    quality = None if bass is None else read_quality(kind)
    return None if bass is None or quality is None else Chord(root, quality, bass).label


def plain(text: str) -> str:
    """Replace the signs of printed music by those that everybody can type: "C♯⁷" becomes "C#7"."""
    return unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_SIGNS)


def note(letter: str, accidentals: str) -> int:
    """The pitch class of a note."""
    return (_NATURALS[letter.upper()] + shift(accidentals)) % 12


def shift(accidentals: str) -> int:
    """By how many semitones some `#` and `b` raise a note."""
    return accidentals.count("#") - accidentals.count("b")


def split_bass(text: str, root: int, is_label: bool = False) -> tuple[str, int | None]:
    """Split what follows a chord's root into its kind and the pitch class of its bass, which is None if unreadable.

    Parameters
    ----------
    root : its pitch class, which is the bass where no other is named
    is_label : whether the bass may be a degree above the root, as in "C:maj/3"
    """
    kind, slash, below = text.rpartition("/")
    if not slash or (kind.endswith("6") and below == "9") or below.lower().startswith(("maj", "ma7")):
        return text, root
    if found := _NOTE.fullmatch(below):
        return kind, note(*found.groups())
    found = _DEGREE.fullmatch(below) if is_label else None
    if found and 1 <= int(found[2]) <= len(_DEGREES):
        return kind, (root + _DEGREES[int(found[2]) - 1] + shift(found[1])) % 12
    return kind, None


def read_quality(text: str) -> str | None:
    """Read the kind of a chord, which follows its root: "m7" is "min7"; None where it is none of `QUALITIES`."""
    found = _KIND.fullmatch(_canonical(text))
    if found is None:
        return None
    third, number, sus, fifth = (found[name] or "" for name in ("third", "number", "sus", "fifth"))
    return _QUALITIES.get(third + _NUMBERS.get(number, number) + sus + fifth)


def _canonical(text: str) -> str:
    """Replace the words and signs for kinds of chords by one of each; what is unknown is kept."""
    # Notes in brackets are added; of the letter M alone, its size tells major from minor.
    text = re.sub(r"\((?=\d)", "add", text).replace("(", "").replace(")", "")
    text = re.sub(r"7M(?!\w)", "maj7", text)
    text = re.sub(r"M(?![A-Za-z])", "maj", text).lower()
    text = re.sub(r"sus(7|9|13)(?!\d)", r"\1sus", text).replace("/ma", "ma")
    words = _WORD.findall(text)
    if "".join(words) != text:
        return text
    result = ""
    for place, word in enumerate(words):
        after_number = place > 0 and words[place - 1].isdigit()
        before_number = place + 1 < len(words) and words[place + 1].isdigit()
        if word in "+-" and after_number and before_number:
            result += "#" if word == "+" else "b"
        elif word == "δ" and not before_number:
            result += "maj7"
        else:
            result += _WORDS.get(word, word)
    return result.replace("add6", "6")
