"""Melody and bass among candidates: one note at a time, the likeliest, without wild leaps."""

import numpy as np
import pytest

from musicgen_service.analysis import voices
from musicgen_service.analysis.note_tracking import Candidates
from musicgen_service.analysis.transcription import Note


def candidates(*notes: tuple[float, float, int], clarity: float = 0.9) -> Candidates:
    """Clear candidates (start, end, MIDI number)."""
    starts, ends, pitches = (np.array(values) for values in zip(*sorted(notes), strict=True))
    clear = np.full(len(notes), clarity)
    return Candidates(
        starts.astype(float), ends.astype(float), pitches, np.full(len(notes), 80), clear, clear, clear, clear
    )


def pitches(notes: list[Note]) -> list[int]:
    return [note.midi for note in notes]


def test_melody_is_above_and_bass_below_the_chords() -> None:
    tune, roots = [72, 74, 76, 77, 79, 77, 76, 74], [36, 41, 43, 36]
    notes = [(0.5 * i, 0.5 * i + 0.45, pitch) for i, pitch in enumerate(tune)]
    notes += [(1.0 * i, i + 0.9, root) for i, root in enumerate(roots)]
    notes += [(1.0 * i, i + 0.9, 12 + root + step) for i, root in enumerate(roots) for step in (12, 16, 19)]
    found = voices.transcribe(candidates(*notes))
    assert pitches(found.melody) == tune and pitches(found.bass) == roots


def test_notes_of_a_voice_do_not_overlap() -> None:
    found = voices.transcribe(candidates((0, 3, 72), (1, 4, 74), (2, 5, 76)))
    assert [(note.start, note.end) for note in found.melody] == [(0, 1), (1, 2), (2, 5)]


def test_unclear_notes_are_left_out() -> None:
    found = voices.transcribe(candidates((0, 1, 72), (1, 2, 74), clarity=0.2))
    assert not found.melody and not found.bass


def test_no_candidates_give_no_notes() -> None:
    nothing = np.zeros(0)
    found = voices.transcribe(
        Candidates(nothing, nothing, nothing.astype(int), nothing.astype(int), nothing, nothing, nothing, nothing)
    )
    assert found.melody == found.bass == []


def test_of_notes_that_begin_together_one_is_chosen() -> None:
    notes = candidates((0, 1, 60), (0.02, 1, 72), (1, 2, 62))
    assert voices.chain(notes, np.array([1.0, 2.0, 1.0])) == [1, 2]


def test_a_rest_of_a_voice_may_hold_many_other_notes() -> None:
    others = [(1 + 0.1 * number, 1.1 + 0.1 * number, 48) for number in range(80)]
    notes = candidates((0, 1, 72), *others, (10, 11, 74))
    gains = np.array([3.0, *[-0.05] * len(others), 3.0])
    assert voices.chain(notes, gains) == [0, 81]


def test_a_leap_costs_unless_time_has_passed() -> None:
    soon, later = candidates((0, 0.2, 60), (0.3, 0.5, 108)), candidates((0, 0.2, 60), (20, 21, 108))
    gains = np.array([1.0, 1.0])
    assert len(voices.chain(soon, gains)) == 1 and len(voices.chain(later, gains)) == 2


def test_evidence_knows_where_a_note_lies_among_the_others() -> None:
    found = voices.evidence(candidates((0, 1, 48), (0, 1, 60), (0, 1, 72)))
    assert found["above"].argmax() == 0 and found["below"].argmax() == 2
    assert found["relative"].tolist() == [pytest.approx(-1), pytest.approx(0), pytest.approx(1)]
    assert found["register"].tolist() == [-1, 0, 1]
