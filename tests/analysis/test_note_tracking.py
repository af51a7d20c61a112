"""Candidates for notes: onsets that are peaks, ends where the sound fades or begins again, and what speaks for them."""

import numpy as np
import pytest

from musicgen_service.analysis import note_tracking
from musicgen_service.analysis.note_tracking import Candidates, NoteActivity

RATE, LOWEST, FRAMES = 86.0, 21, 300


def heard(*notes: tuple[int, int, int, float], levels: np.ndarray | None = None) -> Candidates:
    """Candidates of activity in which notes (first frame, last frame, MIDI number, activation) sound."""
    onsets, sounding = np.zeros((2, FRAMES, 88), np.float32)
    for first, last, midi, activation in notes:
        sounding[first:last, midi - LOWEST] = activation
        onsets[first - 1 : first + 2, midi - LOWEST] = np.array([0.5, 1.0, 0.5]) * activation
    loud = np.zeros(FRAMES, np.float32)
    return note_tracking.candidates(NoteActivity(onsets, sounding, loud if levels is None else levels, RATE, LOWEST))


def test_a_note_lasts_from_its_onset_to_where_it_fades() -> None:
    found = heard((50, 90, 60, 0.8))
    assert found.pitches.tolist() == [60] and found.onset[0] == pytest.approx(0.8)
    assert found.starts[0] == pytest.approx(50 / RATE, abs=0.01) and found.ends[0] == pytest.approx(90 / RATE)
    assert found.body[0] == pytest.approx(0.8) and found.rise[0] == pytest.approx(0.8)


def test_a_repeated_note_is_two() -> None:
    found = heard((50, 80, 60, 0.8), (80, 120, 60, 0.8))
    assert found.pitches.tolist() == [60, 60] and found.ends[0] == pytest.approx(80 / RATE)
    assert found.rise[1] < 0.1, "it went on sounding"


def test_a_short_dip_does_not_end_a_note() -> None:
    onsets, sounding = np.zeros((2, FRAMES, 88), np.float32)
    onsets[20, 40] = 0.9
    sounding[20:60, 40] = sounding[66:100, 40] = 0.7
    found = note_tracking.candidates(NoteActivity(onsets, sounding, np.zeros(FRAMES, np.float32), RATE, LOWEST))
    assert found.ends.tolist() == [pytest.approx(100 / RATE)]


def test_onsets_without_sound_and_moments_are_no_notes() -> None:
    onsets, sounding = np.zeros((2, FRAMES, 88), np.float32)
    onsets[20, 40] = onsets[100, 50] = onsets[FRAMES - 1, 60] = 0.9
    sounding[100:103, 50] = sounding[200:, 40] = 0.7
    found = note_tracking.candidates(NoteActivity(onsets, sounding, np.zeros(FRAMES, np.float32), RATE, LOWEST))
    assert not len(found.starts)


def test_notes_at_the_edges_of_the_keyboard_and_the_recording_are_found() -> None:
    found = heard((1, 40, 21, 0.8), (1, 40, 108, 0.8), (FRAMES - 30, FRAMES, 64, 0.8))
    assert found.pitches.tolist() == [21, 108, 64]
    assert found.starts.min() >= 0 and found.ends.max() <= FRAMES / RATE


@pytest.mark.parametrize("step", note_tracking.HARMONICS)
def test_a_harmonic_is_known_by_a_stronger_note_below(step: int) -> None:
    found = heard((50, 90, 50, 0.9), (50, 90, 50 + step, 0.4))
    assert found.harmonic.tolist() == [pytest.approx(0.9), pytest.approx(-0.5)]


def test_what_is_heard_in_near_silence_is_noise() -> None:
    levels = np.zeros(FRAMES, np.float32)
    levels[100:] = -70
    found = heard((50, 90, 60, 0.8), (150, 190, 62, 0.8), levels=levels)
    assert found.pitches.tolist() == [60]


def test_velocities_follow_levels() -> None:
    levels = np.full(FRAMES, -12.0, np.float32)
    levels[100:] = 0
    found = heard((50, 90, 60, 0.8), (150, 190, 62, 0.8), levels=levels)
    assert found.velocities.tolist() == [64, 127]


def test_nothing_heard_gives_no_candidates() -> None:
    assert not len(heard().starts)
