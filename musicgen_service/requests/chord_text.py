"""Chord progressions as people write them: "Am F C G", "C:min7,G:7 F", "|: C / F G | Am % :|", "ii V I in C major".

Without bar lines, spaces separate bars and commas the chords of one bar; with bar lines, both separate chords. The
chords of a bar share it equally. "C*3,G" gives C three shares and G one; "/" between bar lines gives the chord before
it another. "x4" at the end of a line repeats it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple, NoReturn

from musicgen_service.analysis import chord_symbols
from musicgen_service.analysis.chord_labels import QUALITIES
from musicgen_service.requests import key_names, roman_numerals
from musicgen_service.requests.roman_numerals import KEY, Key, key_of

_MAX_QUOTE = 24
_MAX_TIMES = 99
"""How often a repeat is played at most, and the most shares of a bar that a chord may have."""
_NAMED_KEY = rf"(?i:key(?:\s+of|\s*[:=])?|e[nm]|in(?:\s+the\s+key\s+of)?)\s+{KEY}"
_KEY_BEFORE = re.compile(rf"\s*{_NAMED_KEY}(?:\s*[:;,|\n]|\s+(?=\S))")
_ONLY_KEY_BEFORE = re.compile(rf"\s*{KEY}\s*:\s")
_KEY_AFTER = re.compile(rf"(?<![\s,;|(])[\s,;|(]+{_NAMED_KEY}[\s).]*$")
_DASH = re.compile(r"\s[-–—→>]+(?=\s)|[-–—→](?=[A-G]|[#b]*[IViv])")
"""A dash between chords; one at the end of a chord makes it minor."""
_BAR_LINE = re.compile(r"(?P<ends>:)?\|+(?P<begins>:)?(?(ends)(?:\s*x(?P<times>\d{1,4})\b)?)")
_TIMES = re.compile(r"(?<=[\s|)])\(?(?:[x×]\s?(\d{1,4})|(\d{1,4})\s?[x×])\)?(?![^\s|])")
"""How often something is played: "x4", "4x", "(x4)"."""
_LINE_TIMES = re.compile(r"\sx(\d{1,4})\s*$")
_ACCIDENTAL = re.compile(r"\b([A-G])[ -]?(flat|sharp)\b", re.IGNORECASE)
_APART = re.compile(
    r"(?<![^\s,|])([A-Ga-g][#b]*(?:m|m?7|maj7)?)[ \t]+(?=(?:maj|min|dim|aug|sus|add|dom|half))", re.IGNORECASE
)
"""A chord whose kind stands apart: "A minor", "C maj7", "G7 sus4"."""
_SHARES = re.compile(r"(.+)\*(\d{1,4}(?:\.\d{1,4})?)")


class ChordTextError(ValueError):
    """A progression cannot be read; the message is one sentence."""


class Part(NamedTuple):
    """A chord of a bar: its label, and where it begins and ends, in shares of the bar."""

    start: Fraction
    end: Fraction
    label: str


@dataclass(frozen=True)
class Progression:
    """Chords by bars.

    Attributes
    ----------
    bars : the parts of each bar, which fill it
    key : the key that the text names, if it does
    """

    bars: tuple[tuple[Part, ...], ...]
    key: Key | None = None

    def __str__(self) -> str:
        return " | ".join(" ".join(chord_symbols.symbol(part.label) for part in bar) for bar in self.bars)


@lru_cache(64)
def read(text: str) -> Progression:
    """Read a progression.

    Parameters
    ----------
    text : the caller limits its length

    Raises
    ------
    ChordTextError
        When something in it cannot be read; the sentence names it and its bar.
    """
    return _Reader(text).progression()


class _Reader:
    """Reads one text bar by bar."""

    def __init__(self, text: str) -> None:
        self._key, text = _split_key(_plain(text))
        # Commas in brackets belong to a chord: "C7(b9,#11)".
        text = re.sub(r"(?<=\S)\([^()\s]*\)", lambda found: found[0].replace(",", ""), text)
        self._text = _with_signs_of_repeats(_DASH.sub(" ", text.replace(";", " ")))
        self._bars: list[tuple[Part, ...]] = []
        self._number = 0  # of the bar that is read, as written, from 1
        self._begun: int | None = None  # place of the first bar of a repeat that has begun
        self._played = 0  # bars until the end of the last repeat

    def progression(self) -> Progression:
        """Read all of it."""
        if "|" in self._text:
            self._read_between_lines()
        else:
            for bar in _bars(self._text):
                if bar == "/":
                    self._number += 1
                    self._fail("is '/', a beat of the bar before it: put bar lines around bars, as in | C / G / |")
                self._read_bar(bar.split(","))
        if not self._bars:
            raise ChordTextError("there is no chord in it.")
        return Progression(tuple(self._bars), self._key)

    def _read_between_lines(self) -> None:
        before, at = "", 0
        for line in _BAR_LINE.finditer(self._text):
            self._read_span(self._text[at : line.start()], is_bar=line[0].strip("|") == "" and before[:1] != ":")
            if line["ends"]:
                self._end_repeat(int(line["times"] or 2))
            if line["begins"]:
                self._begin_repeat()
            before, at = line[0], line.end()
        self._read_span(self._text[at:], is_bar=False)
        if self._begun is not None:
            raise ChordTextError("a repeat begins with '|:' and does not end: write ':|' where it does.")

    def _read_span(self, text: str, *, is_bar: bool) -> None:
        """Read what is between two bar lines: a bar, or nothing at the ends of lines and of repeats."""
        if items := text.strip():
            self._read_bar(re.split(r"\s*,\s*|\s+", items))
        elif is_bar and self._number and text and "\n" not in text:
            self._number += 1
            self._fail("is empty: write % to repeat the bar before it, or N.C. for no chord")

    def _read_bar(self, items: Sequence[str]) -> None:
        self._number += 1
        if list(items) == ["%"]:
            if not self._bars:
                self._fail("is '%', which repeats the bar before it, and there is none")
            self._bars.append(self._bars[-1])
            return
        labels: list[str] = []
        shares: list[Fraction] = []
        for item in items:
            chord, share = self._shared(item, is_alone=len(items) == 1)
            if chord == "/" and labels:
                shares[-1] += share
                continue
            labels.append(self._label(chord))
            shares.append(share)
        edges = [Fraction(0), *accumulate(shares)]
        times = [edge / edges[-1] for edge in edges]
        self._bars.append(tuple(Part(*span, label) for span, label in zip(pairwise(times), labels, strict=True)))

    def _shared(self, item: str, *, is_alone: bool) -> tuple[str, Fraction]:
        """Split a chord from its number of shares of the bar."""
        found = _SHARES.fullmatch(item)
        if found is None:
            return item, Fraction(1)
        share = Fraction(found[2])
        if is_alone:
            self._fail(f"has '{_quoted(item)}' alone, which fills it: write % for another bar of it")
        if not 0 < share <= _MAX_TIMES:
            self._fail(f"has '{_quoted(item)}': a chord has more than 0 and at most {_MAX_TIMES} shares of its bar")
        return found[1], share

    def _label(self, chord: str) -> str:
        if chord == "":
            self._fail("has nothing between two commas")
        if chord == "%":
            self._fail("has '%' beside chords; alone in a bar it repeats the one before")
        if chord == "/":
            if not self._bars:
                self._fail("begins with '/', which goes on with the chord before it, and there is none")
            return self._bars[-1][-1].label
        if roman_numerals.is_numeral(chord):
            if self._key is None:
                self._fail(f"has the Roman numeral '{_quoted(chord)}', and no key is named: end with 'in C major'")
            label = roman_numerals.read(chord, self._key)
        else:
            label = chord_symbols.read(chord)
        if label is None and chord[0] in "Hh" and chord_symbols.read(f"B{chord[1:]}"):
            self._fail(f"has '{_quoted(chord)}': write B for a German H, and Bb for a German B")
        if label is None:
            kinds = ", ".join(QUALITIES)
            self._fail(
                f"has '{_quoted(chord)}', which is no chord known here: a note from A to G and one of {kinds}, "
                "as in Am, F#m7b5, Bb/D or C:min7, or N.C"
            )
        return label

    def _begin_repeat(self) -> None:
        if self._begun is not None:
            raise ChordTextError(f"a repeat begins after bar {self._number}, before the last one has ended.")
        self._begun = len(self._bars)

    def _end_repeat(self, times: int) -> None:
        start = self._played if self._begun is None else self._begun
        if start == len(self._bars):
            raise ChordTextError(f"the repeat that ends after bar {self._number} has no bars.")
        if not 2 <= times <= _MAX_TIMES:
            raise ChordTextError(f"a repeat is played 2 to {_MAX_TIMES} times, not {times}.")
        self._bars += self._bars[start:] * (times - 1)
        self._begun, self._played = None, len(self._bars)

    def _fail(self, what: str) -> NoReturn:
        raise ChordTextError(f"bar {self._number} {what}.")


def _plain(text: str) -> str:
    """Write signs, accidentals, kinds, numbers of times and keys as they are read below."""
    text = chord_symbols.plain(text)
    text = _ACCIDENTAL.sub(lambda found: found[1] + {"flat": "b", "sharp": "#"}[found[2].lower()], text)
    text = _TIMES.sub(lambda found: f" x{found[1] or found[2]}", text)
    return _APART.sub(r"\1", key_names.in_english(text))


def _bars(text: str) -> list[str]:
    """Split a text without bar lines into bars."""
    return re.sub(r",(?=\s|$)|(?<=\s),|^,", " ", text).split()


def _with_signs_of_repeats(text: str) -> str:
    """Write how often a line is played, as in "Am F x4", with signs of repeats."""
    lines = [_line_and_times(line) for line in text.split("\n")]
    if all(times is None for _, times in lines):
        return text
    if "|" not in text:
        lines = [(" | ".join(_bars(line)), times) for line, times in lines]
    return "\n".join(f"|: {line.strip('| ')} :| x{times}" if times else f"| {line} |" for line, times in lines if line)


def _line_and_times(line: str) -> tuple[str, str | None]:
    """Split a line from how often it is played; None where it, or a part of it, has signs of repeats."""
    found = _LINE_TIMES.search(line)
    rest = line[: found.start()].strip() if found else ""
    if found is None or not rest.strip("|") or ":|" in rest or "|:" in rest:
        return line.strip(), None
    return (rest[1:-1] if rest.startswith("(") and rest.endswith(")") else rest), found[1]


def _split_key(text: str) -> tuple[Key | None, str]:
    """Split a text into the key that it names, if it does, and the rest."""
    if found := _KEY_BEFORE.match(text) or _ONLY_KEY_BEFORE.match(text):
        return key_of(*found.groups()), text[found.end() :]
    if found := _KEY_AFTER.search(text):
        return key_of(*found.groups()), text[: found.start()]
    return None, text


def _quoted(text: str) -> str:
    return text if len(text) <= _MAX_QUOTE else f"{text[: _MAX_QUOTE - 3]}..."
