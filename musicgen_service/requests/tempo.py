"""The tempi that a prompt names: none, one, a range, or several that contradict each other.

Numbers are common in prompts ("90s rave", "TR-808", "4/4", "blink-182"), so a number counts as a tempo only with a word
that marks it: the unit after it ("128-bpm", "120 beats per minute"), or a name before it ("tempo 124", "BPM of 124",
"♩ = 120").
"half-time 140" and "double-time 70" name 140 and 70: musicians give the tempo that they count, and these words
describe the feel of the drums. A dash before a number is punctuation, not a minus sign.

One regular expression without backtracking splits a prompt into tokens, and each token is examined a bounded number
of times, so the time is proportional to the prompt's length.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

PLAUSIBLE = (30.0, 300.0)
"""Range in bpm for a number that only its position in the sentence marks as a tempo."""

_BEATS = "beats?|pulses?|schläge?n?|battements?|pulsations?|pulsaciones|latidos|golpes|batidas|battiti|slagen|ударов"
_PER = r"per|an?|in\ a|to\ the|pro|par|por|al|na|в"
_MINUTE = "minutes?|minuten?|min|minuto|minuut|minutę|минуту"
_UNIT = rf"""
    bpm(?:['’]?s|ish)? | bmp | b[. ]\ ?p[. ]\ ?m\b\.?
    | (?:{_BEATS})[\s-]*+(?:(?:{_PER})[\s-]++|/\s*+)(?:{_MINUTE})
    | (?:per\s++|/\s?)(?:minute|min)
"""
_NAME = r"(?:(?:up|down|mid)[\s-]?)?tempos?|tempi|темп|m\.\ ?m\.|metronome|(?:half|double)[\s-]?time"
_NOTE = r"(?:dotted\s++)?(?:quarter|crotchet|viertel|noire|negra|semínima|semiminima)(?:[\s-]?notes?)?"
_EAST_ASIAN = r"\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_LETTER = rf"[^\W\d_{_EAST_ASIAN}]"
_TOKEN = re.compile(
    rf"""
    (?P<metre> (?<![\d.,])\d{{1,2}}/(?:2|4|8|16)(?![\d.,]) )
    | (?P<number> \d+(?:[.,]\d+)*+ )
    | (?<!{_LETTER})(?:
        (?P<unit> {_UNIT} ) | (?P<name> {_NAME} ) | (?P<note> {_NOTE} )
    )(?!{_LETTER})
    | (?P<unit_asian> 拍/分 | 拍每分[钟鐘] | 비피엠 )
    | (?P<name_asian> テンポ | 速度 | 每分[钟鐘] | 毎分 | 분당 )
    | (?P<name_sign> ♩\.? )
    | (?P<dots> \.\.\.? )
    | (?P<word> {_LETTER}++ )
    | (?P<mark> \S )
    """,
    re.VERBOSE,
)
_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212~\u301c"
_BETWEEN = frozenset("between entre zwischen tra fra между".split())
_LINKS = dict.fromkeys([*_DASHES, *"to til till until bis à a до .. ... thru through".split()], "range")
_LINKS |= dict.fromkeys("and or und oder et ou y o e или и & / |".split(), "list")
_EXPLICIT = frozenset([*":=([@>\u2248\u2192", *"of is at von de bei set".split()])
"""Tokens allowed between a name and its number, whatever the number."""
_VAGUE = _BETWEEN.union(
    [*_DASHES, *"*_'\")]"],
    "around about approx approximately roughly circa ca c etwa environ range from exactly up to a feel".split(),
)
"""Further tokens allowed there when the number is plausible."""
_BEFORE_UNIT = frozenset([*_DASHES, *"+([)]_*'\"", "ish"])
_OTHER_UNITS = frozenset(
    """hz khz ms s sec secs second seconds min mins minute minutes bar bars measure measures beat beats percent db kbps
    bit bits year years track tracks loops songs hours takes voices""".split()
)
_MAX_FILLERS = 3
_MAX_DIGITS = 6
_MAX_LISTED = 3


@dataclass(frozen=True)
class Tempo:
    """Beats per minute, `low` to `high`; one tempo where they are equal."""

    low: float
    high: float

    @property
    def is_range(self) -> bool:
        """Whether it spans more than one tempo."""
        return self.low != self.high

    @property
    def middle(self) -> float:
        """The tempo itself, or the middle of the range."""
        return (self.low + self.high) / 2

    def contains(self, bpm: float) -> bool:
        """Whether `bpm` equals this tempo or lies in this range."""
        return self.low <= bpm <= self.high

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g} bpm" if self.is_range else f"{self.low:g} bpm"


def read(prompt: str) -> tuple[Tempo, ...]:
    """Find the tempi that a prompt names, each once, in order.

    An empty result means that the prompt leaves the tempo open, one entry a tempo or a range, several that they
    contradict each other. A range that contains another tempo of the prompt is left out, as the other is more exact.

    Parameters
    ----------
    prompt : the caller limits its length
    """
    tempi = dict.fromkeys(_Reader(prompt).tempi())
    return tuple(tempo for tempo in tempi if not _has_more_exact_tempo(tempo, tempi))


def allows(named: tuple[Tempo, ...], bpm: float) -> bool:
    """Whether `bpm` is compatible with the tempi that a prompt names: it names none, or `bpm` matches one of them."""
    return not named or any(tempo.contains(bpm) for tempo in named)


def listed(named: tuple[Tempo, ...]) -> str:
    """Format tempi for a message, at most the first `_MAX_LISTED`."""
    more = [f"{len(named) - _MAX_LISTED} more"] if len(named) > _MAX_LISTED else []
    return " and ".join([*map(str, named[:_MAX_LISTED]), *more])


@dataclass
class _Number:
    """A number in a group such as "120 to 130 bpm".

    Attributes
    ----------
    place : index of its token
    link : how it is joined to the number before it, `range` or `list`; empty for the first
    has_unit : whether a unit follows it
    """

    place: int
    link: str
    has_unit: bool


class _Reader:
    """Tokenises a prompt and decides from context which of its numbers are tempi."""

    def __init__(self, prompt: str) -> None:
        text = unicodedata.normalize("NFKC", prompt.replace("½", ".5")).lower()
        self._tokens = list(_TOKEN.finditer(text))
        self._kinds = [(token.lastgroup or "").partition("_")[0] for token in self._tokens]
        self._texts = [token[0] for token in self._tokens]

    def tempi(self) -> Iterator[Tempo]:
        """Yield every tempo named, in order."""
        place, consumed = 0, 0
        while place < len(self._tokens):
            if self._kinds[place] == "number":
                group, place = self._group(place)
                yield from self._named(group, place, consumed)
                consumed = place
            else:
                place += 1

    def _group(self, place: int) -> tuple[list[_Number], int]:
        """Collect the linked numbers from token `place` on, with their units; also return the index after them."""
        group: list[_Number] = []
        link = ""
        while True:
            after = self._after_unit(place + 1)
            group.append(_Number(place, link, after is not None))
            place = place + 1 if after is None else after
            if place + 1 >= len(self._tokens) or self._kinds[place + 1] != "number":
                break
            link = _LINKS.get(self._texts[place], "")
            if not link:
                break
            place += 1
        if len(group) == 1 and group[0].has_unit and self._unit_belongs_to_next(group[0].place, place):
            group[0].has_unit, place = False, group[0].place + 1
        return group, place

    def _named(self, group: list[_Number], end: int, consumed: int) -> Iterator[Tempo]:
        """Yield the tempi in a group that ends before token `end`; tokens before `consumed` belong to other numbers."""
        named = [number.has_unit for number in group]
        if not any(named):
            if not self._has_name(group[0].place, end, consumed):
                return
            named[0] = True
            for index in range(1, len(group)):
                named[index] = named[index - 1] and self._can_be_tempo(group[index].place)
        for index in reversed(range(len(group) - 1)):
            named[index] = named[index] or (named[index + 1] and self._can_be_tempo(group[index].place))
        start = group[0].place
        is_between = any(text in _BETWEEN for text in self._texts[max(consumed, start - 2) : start])
        low = high = None
        for index, number in enumerate(group):
            value = _value(self._texts[number.place])
            if not named[index] or value is None:
                continue
            if low is not None and high is not None:
                if named[index - 1] and (number.link == "range" or is_between):
                    low, high = min(low, value), max(high, value)
                    continue
                yield Tempo(low, high)
            low = high = value
        if low is not None and high is not None:
            yield Tempo(low, high)

    def _after_unit(self, place: int) -> int | None:
        """Index after a unit, which may be joined as in "128-bpm" and "120+ bpm"; None without one."""
        for here in range(place, min(place + _MAX_FILLERS, len(self._tokens))):
            if self._kinds[here] == "unit":
                return here + 1
            if self._texts[here] not in _BEFORE_UNIT:
                return None
        return None

    def _unit_belongs_to_next(self, place: int, after: int) -> bool:
        """Whether the unit between two numbers belongs to the second, as in "sonata 5, bpm 120"."""
        if _value(self._texts[place]) is None or self._can_be_tempo(place):
            return False
        following = self._number_after(after)
        return following is not None and self._can_be_tempo(following)

    def _number_after(self, place: int) -> int | None:
        """Index of a number at `place`, or after tokens allowed between a name and its number; None without one."""
        for here in range(place, min(place + _MAX_FILLERS, len(self._tokens))):
            if self._kinds[here] == "number":
                return here
            if self._texts[here] not in _EXPLICIT:
                return None
        return None

    def _has_name(self, place: int, end: int, consumed: int) -> bool:
        """Whether a name comes before a number ("tempo 124", "BPM of around 124", "♩ = 120") or after it."""
        is_explicit = False
        for here in reversed(range(max(consumed, place - _MAX_FILLERS - 1), place)):
            kind, text = self._kinds[here], self._texts[here]
            if kind == "note":
                return is_explicit and _value(self._texts[place]) is not None
            if kind in ("unit", "name"):
                is_number = _value(self._texts[place]) is not None and not self._is_part_of_word(place)
                return is_number and (is_explicit or self._can_be_tempo(place))
            if text in _EXPLICIT:
                is_explicit = True
            elif text not in _VAGUE:
                break
        # As in "at 120 tempo" and "140 half-time", unless the name belongs to another number.
        is_before_name = end < len(self._tokens) and self._kinds[end] == "name"
        return is_before_name and self._can_be_tempo(place) and self._number_after(end + 1) is None

    def _can_be_tempo(self, place: int) -> bool:
        """Whether a number can be a tempo where only its position marks it as one."""
        value = _value(self._texts[place])
        return value is not None and _is_plausible(value) and not self._is_part_of_word(place)

    def _is_part_of_word(self, place: int) -> bool:
        """Whether a number belongs to a word or to another unit, as in "90s", "TR-909", "50%" and "60 seconds"."""
        return self._has_prefix(place) or self._has_suffix(place)

    def _has_prefix(self, place: int) -> bool:
        """Whether a number ends a name, such as "tr909" or "tr-909"."""
        if not place or not self._is_adjacent(place - 1):
            return False
        if self._kinds[place - 1] == "word" or self._texts[place - 1] in "#$€£":
            return True
        is_dash = self._texts[place - 1] in _DASHES and place > 1
        return is_dash and self._kinds[place - 2] == "word" and self._is_adjacent(place - 2)

    def _has_suffix(self, place: int) -> bool:
        """Whether a number has a suffix ("90s", "90's", "90年代") or a unit of another kind."""
        if place + 1 == len(self._tokens):
            return False
        text = self._texts[place + 1]
        if not self._is_adjacent(place):
            return text in _OTHER_UNITS
        if self._kinds[place + 1] == "word":
            return text != "ish"
        is_apostrophe = text in "'’" and place + 2 < len(self._tokens) and self._is_adjacent(place + 1)
        return text in "%°年" or (is_apostrophe and self._kinds[place + 2] == "word")

    def _is_adjacent(self, place: int) -> bool:
        """Whether there is no space between a token and the next one."""
        return self._tokens[place].end() == self._tokens[place + 1].start()


@lru_cache(256)
def _value(digits: str) -> float | None:
    """Parse a number as people write it ("124.5", "124,5", "1,200"); None when it has too many digits or parts."""
    if len(digits) > _MAX_DIGITS + 1:
        return None
    whole, *parts = re.split("[.,]", digits)
    if len(parts) > 1:
        return None
    decimal = float(".".join([whole, *parts]))
    if "," in digits and len(parts[0]) == 3 and not _is_plausible(decimal):
        return float(whole + parts[0])
    return decimal


def _is_plausible(value: float) -> bool:
    return PLAUSIBLE[0] <= value <= PLAUSIBLE[1]


def _has_more_exact_tempo(tempo: Tempo, others: Iterable[Tempo]) -> bool:
    return tempo.is_range and any(tempo.contains(other.middle) for other in others if other != tempo)
