"""Scores in beats, and how they are taken from music21's corpus."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

MIN_BARS = 6
METRES = {
    "2/4": (1.0, 2),
    "3/4": (1.0, 3),
    "4/4": (1.0, 4),
    "2/2": (1.0, 4),
    "6/8": (1.5, 2),
    "5/4": (1.0, 5),
    "7/4": (1.0, 7),
    "7/8": (0.5, 7),
}
"""Length of a beat, in quarter notes, and beats in a bar. Cut time is played in four."""
_CLOSE = 1e-4  # of a beat: positions nearer to each other are one


class ScoreNote(NamedTuple):
    """A note: its beginning and end in beats, its MIDI number and its loudness from 0 to 1."""

    start: float
    end: float
    midi: int
    loudness: float = 0.7


class ScoreChord(NamedTuple):
    """A chord: its beginning and end in beats, and its label in mir_eval's notation."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Score:
    """Whole bars of a piece; all positions are in beats from the first downbeat.

    Attributes
    ----------
    parts : from the highest to the lowest
    metre : as notated
    symbols : the chord symbols printed above the notes, if there are any
    key : tonic (0 is C) and "major" or "minor"; None where neither the notation nor the ending tells
    """

    composer: str
    title: str
    metre: str
    bars: int
    parts: list[list[ScoreNote]]
    symbols: list[ScoreChord]
    key: tuple[int, str] | None

    @property
    def beats_per_bar(self) -> int:
        """Beats in a bar."""
        return METRES[self.metre][1]

    @property
    def beats(self) -> int:
        """Its length."""
        return self.bars * self.beats_per_bar


def from_stream(stream: Any, composer: str, title: str) -> Score | None:
    """Take the longest run of regular bars from a music21 score; None where there are too few, or metres change."""
    streams = list(stream.parts) or [stream]
    first = streams[0]
    signatures = {signature.ratioString for signature in first.recurse().getElementsByClass("TimeSignature")}
    if len(signatures) != 1 or not signatures <= METRES.keys():
        return None
    [metre] = signatures
    beat, beats_per_bar = METRES[metre]
    bar = beat * beats_per_bar
    start, end = _regular(list(first.getElementsByClass("Measure")), bar)
    bars = round((end - start) / bar)
    if bars < MIN_BARS:
        return None
    parts = [notes for part in streams if (notes := list(_notes(part, start, end, beat)))]
    keys = list(first.recurse().getElementsByClass("KeySignature"))
    if not parts or not keys or len({key.sharps for key in keys}) != 1:
        return None
    symbols = list(_symbols(stream, start, end, beat))
    # Of four pieces with chord symbols, the signatures of two are not the key.
    key = None if symbols else _key(keys[0], parts)
    return Score(composer, title, metre, bars, parts, symbols, key)


def _key(signature: Any, parts: list[list[ScoreNote]]) -> tuple[int, str] | None:
    """Read the key from a signature: of a tune with its mode, of voices by whose tonic they end on."""
    major = 7 * signature.sharps % 12
    tonics = {"major": major, "minor": (major + 9) % 12}
    mode = getattr(signature, "mode", None)
    if len(parts) == 1 and mode:
        return (tonics[mode], mode) if mode in tonics else None
    end = max(note.end for part in parts for note in part)
    last = min(note.midi for part in parts for note in part if note.end > end - _CLOSE) % 12
    return next(((tonic, mode) for mode, tonic in tonics.items() if tonic == last), None)


def _regular(measures: list[Any], bar: float) -> tuple[float, float]:
    """Beginning and end, in quarters, of the longest run of bars that are full or complete each other."""
    best = (0.0, 0.0)
    start = end = None
    for measure in measures:
        length = float(measure.duration.quarterLength)
        offset = float(measure.offset)
        is_full = abs(length - bar) < _CLOSE
        if start is None or end is None:
            start = end = offset if is_full else None
        elif is_full and abs((offset - start) / bar - round((offset - start) / bar)) > _CLOSE:
            start = end = offset
        if start is not None:
            end = start + (offset + length - start + _CLOSE) // bar * bar
            best = max(best, (start, end), key=lambda run: run[1] - run[0])
    return best


def _notes(part: Any, start: float, end: float, beat: float) -> Iterator[ScoreNote]:
    for element in part.flatten().stripTies().notes:
        length = float(element.duration.quarterLength)
        at = float(element.offset)
        if element.classSet & {"ChordSymbol"} or length <= 0 or at < start - _CLOSE or at >= end - _CLOSE:
            continue
        for pitch in element.pitches:
            yield ScoreNote((at - start) / beat, (min(at + length, end) - start) / beat, int(pitch.midi))


def _symbols(stream: Any, start: float, end: float, beat: float) -> Iterator[ScoreChord]:
    """Chord symbols with a root and a kind that has a label, each until the next one."""
    from bench.rendered.harmony import label_of

    found = [s for s in stream.flatten().getElementsByClass("ChordSymbol") if start <= s.offset < end]
    for symbol, following in zip(found, [*(float(s.offset) for s in found[1:]), end], strict=False):
        label = label_of([int(pitch.midi) for pitch in symbol.pitches], int(symbol.root().pitchClass))
        if label and following > symbol.offset:
            yield ScoreChord((float(symbol.offset) - start) / beat, (float(following) - start) / beat, label)
