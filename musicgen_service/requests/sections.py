"""The sections of a piece as text: a line for each, with its length and what it should be like.

    intro 8 s: soft piano
    verse 16 bars: drums join / chords: Am F C G / not: vocals

Lines end at a line break or a semicolon. A length is in seconds, minutes, or bars of the tempo that is asked for:
"8 s", "2 min 30 s", "1:30", "16 bars".
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from musicgen_service.requests import chord_text, tempo
from musicgen_service.requests.chord_text import Progression
from musicgen_service.requests.descriptions import requested_tempo
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.time_signature import COMMON, TimeSignature
from musicgen_service.suggestion import did_you_mean

MAX_SECTIONS = 50
MIN_SECONDS = 1.0
"""Minimum length of a section: a shorter one is over before its words are heard."""
_UNITS = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "seconds"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "minutes"),
    **dict.fromkeys(("bar", "bars", "measure", "measures"), "bars"),
}
_MINUTES = "|".join(unit for unit, kind in _UNITS.items() if kind == "minutes")
_LENGTH = rf"""
    (?<![\d.,:]) (?:
        (?: (?P<minutes>\d{{1,3}}) \s? (?:{_MINUTES}) \s? )?
        (?P<number>\d{{1,4}}(?:[.,]\d{{1,3}})?) \s? (?P<unit>{"|".join(_UNITS)}) \.?
        | (?P<clock>\d{{1,3}}:[0-5]\d)
    ) [\s)\]*_]*
"""
_HEAD = re.compile(rf"(?P<name>[^:]*?) {_LENGTH} (?: : | \Z )", re.IGNORECASE | re.VERBOSE)
_ANOTHER = re.compile(rf"(?P<length>{_LENGTH}) :(?!\S)", re.IGNORECASE | re.VERBOSE)
_OPTIONS = ("not", "chords")
_OPTION = re.compile(rf"(?:^|\s)(?:/\s*(?![A-Ga-g][#b♯♭]*\s*:)(\w+)|({'|'.join(_OPTIONS)}))\s*:", re.IGNORECASE)
"""A slash and a name, not those of a chord, as in "C:min / G:7"; or a known name alone."""
_LIST_NUMBER = re.compile(r"\s*\d{1,2}[.)]\s+")
_AROUND_NAME = " \t,([])\u2013-*_#>\u2022\ufeff"
_RULE = " \t-\u2013\u2014*_=\ufeff"
_MAX_QUOTE_LENGTH = 40
_EXAMPLE = "'verse 16 bars: drums join' or 'intro 8 s: soft piano'"


@dataclass(frozen=True)
class Section:
    """A part of a piece.

    Attributes
    ----------
    name : as the client calls it; "section 2" where it has none
    start, end : seconds from the start of the first section
    words : what it should be like, besides the prompt
    negative_words : what it should not be like, besides the negative prompt
    chords : its own, which begin with it; None where it has those of the whole piece, if there are any
    bpm : tempo of its bars; None where none is asked for
    """

    name: str
    start: float
    end: float
    words: str | None
    negative_words: str | None
    chords: Progression | None = None
    bpm: float | None = None


def read(text: str, prompt: str | None, bpm: float | None, metre: TimeSignature = COMMON) -> tuple[Section, ...]:
    """Read the sections of a piece.

    Parameters
    ----------
    text : the caller limits its length
    prompt, bpm : what the whole piece should be like; bars have its tempo, or that of their section's own words
    metre : of bars

    Returns
    -------
    The sections, in order, each of which starts where the one before ends

    Raises
    ------
    RequestError
        When a line cannot be read, with a sentence for each.
    """
    lines = list(_lines(text))
    if len(lines) > MAX_SECTIONS:  # each may have much to read
        raise RequestError([f"There are {len(lines)} sections; at most {MAX_SECTIONS} are allowed."])
    common = requested_tempo(prompt, bpm)
    sections: list[Section] = []
    problems: list[str] = []
    for number, line in lines:
        start = sections[-1].end if sections else 0.0
        try:
            sections.append(_read_line(line, len(sections) + 1, start, prompt, common, metre))
        except ValueError as error:
            problems.append(f"Line {number} of sections ({_quoted(line)}) {error}.")
    if not sections and not problems:
        problems.append(f"sections has no line with a section: write it like {_EXAMPLE}.")
    if problems:
        raise RequestError(problems)
    return tuple(sections)


def name_chords(text: str) -> bool:
    """Whether any section says its chords, whether they can be read or not."""
    return any(
        (found[1] or found[2]).lower() == "chords" for _, line in _lines(text) for found in _OPTION.finditer(line)
    )


def listed(times: Iterable[tuple[str, float, float]]) -> str:
    """Format names, starts and ends of sections for a log: "intro 0 to 8 s, verse 8 to 40 s"."""
    return ", ".join(f"{name} {start:.4g} to {end:.4g} s" for name, start, end in times)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines that are neither blank nor a rule, each with its number."""
    for number, line in enumerate(re.split("\r\n|[\r\n;]", text), 1):
        if line.strip(_RULE):
            yield number, line.strip()


def _read_line(
    line: str, number: int, start: float, prompt: str | None, common: float | None, metre: TimeSignature
) -> Section:
    """Read one section of a piece with a common tempo, or none; raises ValueError with the rest of a sentence."""
    option = _OPTION.search(line)
    head = _HEAD.match(line[: option.start()] if option else line)
    if head is None:
        raise ValueError(f"has no length before its words: write it like {_EXAMPLE}")
    options = dict(_options(line[head.end() :]))
    if another := _ANOTHER.search(options[""]):
        length = another["length"].strip()
        raise ValueError(
            f"has another length, '{length}', among its words: begin a new line, or end it with a semicolon"
        )
    words, chords = options[""] or None, _chords(options.get("chords"))
    if words is None and prompt is None and chords is None:
        raise ValueError("has no words, and there is no prompt: give one of them")
    own_tempo = _tempo(words, common)
    seconds = _seconds(head, own_tempo, metre)
    if chords is not None and own_tempo is None:
        raise ValueError("has chords, which need one tempo: give bpm, or a prompt such as '120 bpm'")
    if seconds < MIN_SECONDS:
        raise ValueError(f"is {seconds:.3g} s long; a section has at least {MIN_SECONDS:g} s")
    name = _LIST_NUMBER.sub("", head["name"], count=1).strip(_AROUND_NAME) or f"section {number}"
    return Section(name, start, start + seconds, words, options.get("not"), chords, own_tempo)


def _seconds(head: re.Match[str], bpm: float | None, metre: TimeSignature) -> float:
    """The length that the head of a section says; raises ValueError where it has bars without a tempo."""
    if head["clock"]:
        minutes, seconds = head["clock"].split(":")
        return 60.0 * int(minutes) + int(seconds)
    number, unit = float(head["number"].replace(",", ".")), _UNITS[head["unit"].lower()]
    if head["minutes"] and unit != "seconds":
        raise ValueError(f"has two lengths before its words: write it like {_EXAMPLE}")
    match unit:
        case "minutes":
            return 60 * number
        case "bars":
            if bpm is None:
                raise ValueError("counts in bars, which needs one tempo: give bpm, or a prompt such as '120 bpm'")
            return number * metre.bar_seconds(bpm)
    return 60.0 * int(head["minutes"] or 0) + number


def _options(body: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a section, under an empty name, and its options by name."""
    words, *rest = _OPTION.split(body)
    yield "", words.strip()
    seen = set()
    for name, alone, value in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        key = (name or alone).lower()
        if key not in _OPTIONS:
            allowed = " or ".join(f"'/ {option}:'" for option in _OPTIONS)
            raise ValueError(f"has '/ {name}:', but only {allowed} is known{did_you_mean(key, _OPTIONS)}")
        if key in seen:
            raise ValueError(f"has '/ {key}:' twice: join them")
        if not value.strip():
            raise ValueError(f"has nothing after '/ {key}:'")
        seen.add(key)
        yield key, value.strip()


def _chords(text: str | None) -> Progression | None:
    if text is None:
        return None
    try:
        return chord_text.read(text)
    except chord_text.ChordTextError as error:
        raise ValueError(f"has chords that cannot be read: {str(error).rstrip('.')}") from None


def _tempo(words: str | None, common: float | None) -> float | None:
    """The tempo of a section's bars, in beats per minute: that of the whole piece, or else that of its own words."""
    own = tempo.read(words or "")
    if common is None:
        return requested_tempo(words, None)
    if not tempo.allows(own, common):
        raise ValueError(f"says {tempo.listed(own)}, but the whole piece has {common:g} bpm: leave one of them out")
    return common


def _quoted(line: str) -> str:
    text = line if len(line) <= _MAX_QUOTE_LENGTH else line[: _MAX_QUOTE_LENGTH - 3] + "..."
    return f"'{text}'"
