"""Scores: what is taken from them, their chords, and how they are arranged."""

import numpy as np
import pytest

from bench.rendered import arrangement, harmony, sources
from bench.rendered.arrangement import accompaniment, drums, rebarred, repeated, transposed
from bench.rendered.clip import HELD_BACK, SPLITS, TRAINING
from bench.rendered.patterns import FEELS, FIGURES
from bench.rendered.score import METRES, Score, ScoreChord, ScoreNote
from musicgen_service.analysis.chord_labels import pitch_classes

SCALE = [60, 62, 64, 65, 67, 69, 71, 72]


def tune(bars: int = 4, metre: str = "4/4", *melody: int) -> Score:
    """A note on every beat of the bars."""
    beats = bars * METRES[metre][1]
    notes = [ScoreNote(float(at), at + 1.0, (melody or SCALE)[at % len(melody or SCALE)]) for at in range(beats)]
    return Score("somebody", "a tune", metre, bars, [notes], [], (0, "major"))


@pytest.mark.parametrize(
    ("notes", "label"),
    [
        ((60, 64, 67), "C:maj"),
        ((52, 60, 67), "C:maj"),
        ((57, 60, 64, 67), "A:min7"),
        ((60, 64, 67, 69), "C:maj6"),
        ((59, 62, 65, 69), "B:hdim7"),
        ((60, 67), None),
        ((60, 62, 64, 67), None),
        ((60, 65, 67), "C:sus4"),
    ],
)
def test_a_chord_is_named_where_its_notes_are_exactly_one(notes: tuple[int, ...], label: str | None) -> None:
    assert harmony.label_of(notes) == label


def test_voices_have_a_chord_only_while_they_sound_it() -> None:
    chord = [[ScoreNote(0, 2, midi)] for midi in (60, 64, 67)]
    passing = [ScoreNote(2, 2.5, 61), ScoreNote(2.5, 4, 64)]
    held = [[ScoreNote(2, 4, midi)] for midi in (60, 67)]
    score = Score("", "", "4/4", 2, [*chord, passing, *held], [], None)
    assert harmony.of_notes(score) == [
        (0, 2, "C:maj"),
        (2, 2.5, "X"),
        (2.5, 4, "C:maj"),
        (4, 8, "N"),
    ]


@pytest.mark.parametrize("sevenths", [0.0, 1.0])
def test_a_melody_is_harmonised_with_chords_that_have_its_notes(sevenths: float) -> None:
    triads = [(60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67)]
    melody = [ScoreNote(at, at + 1.0, triads[at // 4][at % 3]) for at in range(16)]
    score = Score("", "", "4/4", 4, [melody], [], (0, "major"))
    chords = harmony.written(score, np.random.default_rng(1), sevenths, 4.0)
    assert [(chord.start, chord.end) for chord in chords] == [(0, 4), (4, 8), (8, 12), (12, 16)]
    assert [chord.label[0] for chord in chords] == ["C", "F", "G", "C"]
    assert all((pitch_classes(chord.label).sum() == 4) == bool(sevenths) for chord in chords)


def test_printed_chords_cover_the_score() -> None:
    symbols = [ScoreChord(1, 3, "F:maj"), ScoreChord(5, 6, "C:7")]
    score = Score("", "", "4/4", 2, tune(2).parts, symbols, None)
    assert harmony.printed(score) == [(0, 5, "F:maj"), (5, 8, "C:7")]


@pytest.mark.parametrize(("metre", "bars"), [("5/4", 8), ("7/4", 4), ("7/8", 8)])
def test_another_metre_keeps_every_note_and_its_order(metre: str, bars: int) -> None:
    score = tune(8)
    other = rebarred(score, metre)
    assert (other.bars, other.beats) == (bars, bars * METRES[metre][1])
    starts = [note.start for note in other.parts[0]]
    assert len(starts) == len(score.parts[0]) and starts == sorted(starts)
    assert starts[0] == 0 and max(note.end for note in other.parts[0]) == other.beats


def test_repeats_and_cuts_are_whole_bars() -> None:
    longer, shorter = repeated(tune(4), 6), repeated(tune(4), 3)
    assert (longer.beats, len(longer.parts[0])) == (24, 24)
    assert (shorter.beats, len(shorter.parts[0])) == (12, 12)
    assert longer.parts[0][16].midi == tune(4).parts[0][0].midi


def test_a_transposed_score_has_other_notes_symbols_and_key() -> None:
    score = Score("", "", "4/4", 1, [[ScoreNote(0, 4, 60)]], [ScoreChord(0, 4, "C:7")], (9, "minor"))
    other = transposed(score, 3)
    assert (other.parts[0][0].midi, other.symbols[0].label, other.key) == (63, "Eb:7", (0, "minor"))


@pytest.mark.parametrize("figure", FIGURES)
def test_an_accompaniment_plays_the_chords_that_it_was_given(figure: str) -> None:
    chords = [ScoreChord(0, 4, "C:maj7"), ScoreChord(4, 8, "A:min"), ScoreChord(8, 12, "N"), ScoreChord(12, 16, "G:7")]
    upper, bass = accompaniment(chords, FIGURES[figure], 4, np.random.default_rng(1))
    for chord in chords:
        sounding = {note.midi % 12 for note in upper if chord.start <= note.start < chord.end}
        assert sounding == set(np.flatnonzero(pitch_classes(chord.label)))
        if bass and chord.label != "N":
            assert next(n for n in bass if n.start == chord.start).midi % 12 == pitch_classes_root(chord.label)
    assert all(note.end <= 16 for note in [*upper, *bass])


def pitch_classes_root(label: str) -> int:
    return {"C": 0, "A": 9, "G": 7}[label[0]]


@pytest.mark.parametrize("feel", FEELS)
def test_a_feel_fills_its_bars(feel: str) -> None:
    beats = METRES[FEELS[feel].metre][1]
    assert all(len(steps) % beats == 0 for steps in FEELS[feel].hits.values())
    hits = drums(FEELS[feel], 3, np.random.default_rng(1))
    assert {int(hit.start // beats) for hit in hits} == {0, 1, 2}


def test_no_composer_is_in_both_parts_and_each_part_has_every_metre() -> None:
    for group in (sources.POLYPHONIC, sources.TUNES, sources.LEAD_SHEETS):
        assert not set(group[TRAINING].values()) & set(group[HELD_BACK].values())
    metres = {split: {feel.metre for feel in FEELS.values() if feel.split == split} for split in SPLITS}
    assert metres[TRAINING] == metres[HELD_BACK] >= {"2/4", "3/4", "4/4", "6/8", "5/4", "7/4", "7/8"}
    assert all(arrangement.is_rebarred(metre) for metre in ("5/4", "7/4", "7/8"))


class TestFromAbc:
    """Scores as music21 reads them."""

    HEAD = "X:1\nT:Tune\nM:4/4\nL:1/4\nK:{key}\n"

    def read(self, body: str, key: str = "G") -> Score | None:
        converter = pytest.importorskip("music21.converter")
        from bench.rendered.score import from_stream

        return from_stream(converter.parse(self.HEAD.format(key=key) + body, format="abc"), "nobody", "tune")

    def test_a_tune_begins_with_its_first_whole_bar(self) -> None:
        score = self.read("D|GABc|dedB|GABc|dedB|GABc|dedB|GABc|G3|]")
        assert score is not None and (score.metre, score.bars, score.key) == ("4/4", 7, (7, "major"))
        assert score.parts[0][:2] == [(0, 1, 67, 0.7), (1, 2, 69, 0.7)]

    def test_a_bar_that_does_not_fit_ends_the_score(self) -> None:
        score = self.read("GABc|dedB|GABc|GA|dedB|GABc|dedB|GABc|dedB|GABc|GABc|]")
        assert score is not None and score.bars == 7
        assert [note.midi for note in score.parts[0][:4]] == [74, 76, 74, 71]

    def test_chord_symbols_are_read_and_leave_no_key(self) -> None:
        score = self.read('"G"GABc|"D7"dedB|GABc|"Em"dedB|GABc|dedB|"G"GABc|dedB|]')
        assert score is not None and score.key is None
        assert [(c.start, c.label) for c in score.symbols] == [(0, "G:maj"), (4, "D:7"), (12, "E:min"), (24, "G:maj")]

    def test_modes_have_no_key_and_too_short_a_tune_is_none(self) -> None:
        modal = self.read("GABc|dedB|GABc|dedB|GABc|dedB|GABc|dedB|]", key="Amix")
        assert modal is not None and modal.key is None
        assert self.read("GABc|dedB|]") is None
