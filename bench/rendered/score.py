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
    sharps : of the key signature, negative for flats
    mode : as the score tells, such as "minor"; empty where it does not
    """

    composer: str
    title: str
    metre: str
    bars: int
    parts: list[list[ScoreNote]]
    symbols: list[ScoreChord]
    sharps: int
    mode: str

    @property
    def beats_per_bar(self) -> int:
        """Beats in a bar."""
        return METRES[self.metre][1]

    @property
    def beats(self) -> int:
        """Its length."""
        return self.bars * self.beats_per_bar

    @property
    def key(self) -> tuple[int, str] | None:
        """Tonic (0 is C) and mode, None where neither the score nor its ending tells."""
        major = 7 * self.sharps % 12
        tonics = {"major": major, "minor": (major + 9) % 12}
        if self.symbols:
            return None  # of four pieces with symbols, the signatures of two are not the key
        if self.mode:
            return (tonics[self.mode], self.mode) if self.mode in tonics else None
        ending = [note for part in self.parts for note in part if self._is_last(note)]
        last = min(ending, key=lambda note: note.midi).midi % 12 if ending else None
        return next(((tonic, mode) for mode, tonic in tonics.items() if tonic == last), None)

    def _is_last(self, note: ScoreNote) -> bool:
        return note.end >= max(n.end for part in self.parts for n in part) - _CLOSE


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
    parts = [list(_notes(part, start, end, beat)) for part in streams]
    keys = list(first.recurse().getElementsByClass("KeySignature"))
    if not keys or len({key.sharps for key in keys}) != 1:
        return None
    return Score(
        composer=composer,
        title=title,
        metre=metre,
        bars=bars,
        parts=[part for part in parts if part],
        symbols=list(_symbols(stream, start, end, beat)),
        sharps=keys[0].sharps,
        mode=(getattr(keys[0], "mode", None) or "") if len(streams) == 1 else "",
    )


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
