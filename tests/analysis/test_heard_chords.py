"""Chords that a network hears frame by frame, made into those of a song."""

import numpy as np
import pytest

from demo.synth import SAMPLE_RATE
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chord_labels import LABELS, pitch_classes
from musicgen_service.analysis.envelopes import mono
from musicgen_service.analysis.heard_chords import HeardChords, to_harmony
from tests.analysis.test_chords import triad

FRAME_RATE = 10.0
GRID = BeatGrid(60.0, np.arange(8.0), np.arange(0, 8.0, 4), 4, 1.0)
C, A_MINOR = triad(48, 52, 55, seconds=4.0), triad(57, 60, 64, seconds=4.0)


def heard(*labels: str, certainty: float = 0.9, loudness: float = 1.0) -> HeardChords:
    """Of a label for each frame."""
    probabilities = np.full((len(LABELS), len(labels)), (1 - certainty) / (len(LABELS) - 1))
    probabilities[[LABELS.index(label) for label in labels], np.arange(len(labels))] = certainty
    pitches = loudness * np.array([pitch_classes(label) for label in labels]).T
    return HeardChords(probabilities, pitches, FRAME_RATE, 0.0)


def audio(*parts: np.ndarray) -> np.ndarray:
    return mono(np.concatenate(parts), SAMPLE_RATE)


def test_a_chord_begins_on_a_beat_and_single_frames_do_not_count() -> None:
    frames = ["C:maj"] * 38 + ["A:min"] * 42
    frames[12] = "F#:dim7"
    harmony = to_harmony(heard(*frames), audio(C, A_MINOR), GRID)
    assert harmony.chords == [(0, 4, "C:maj"), (4, 8, "A:min")]
    assert [candidates[0][0] for candidates in harmony.candidates] == ["C:maj", "A:min"]
    assert all(candidates[0][1] > 0.85 for candidates in harmony.candidates)


def test_the_network_tells_sevenths_from_triads() -> None:
    harmony = to_harmony(heard(*["C:maj7"] * 80), audio(C, C), GRID)
    assert [chord.label for chord in harmony.chords] == ["C:maj7"]


def test_where_the_network_is_in_doubt_the_sound_decides() -> None:
    doubtful = heard(*["E:min"] * 80, certainty=0.3)
    doubtful.probabilities[LABELS.index("C:maj")] = 0.2
    assert [chord.label for chord in to_harmony(doubtful, audio(C, C), GRID).chords] == ["C:maj"]


def test_what_the_network_hears_no_chord_in_has_none() -> None:
    frames = ["N"] * 40 + ["C:maj"] * 40
    harmony = to_harmony(heard(*frames), audio(C, C), GRID)
    assert harmony.chords == [(0, 4, "N"), (4, 8, "C:maj")]


@pytest.mark.parametrize("loudness", [1.0, 0.4, 0.1])
def test_a_key_is_as_sure_as_its_pitches_are_clear(loudness: float) -> None:
    harmony = to_harmony(heard(*["C:maj"] * 80, loudness=loudness), audio(C, C), GRID)
    if loudness == 0.1:
        assert not harmony.keys
    else:
        assert harmony.keys[0][0] == "C major"
        assert sum(share for _, share in harmony.keys) == pytest.approx(min(1.0, (loudness - 0.25) / 0.4), abs=0.05)


@pytest.mark.parametrize(("notes", "label"), [((48, 52, 55), "C:maj"), ((48, 52, 55, 58), "C:7")])
def test_between_a_triad_and_a_seventh_the_sound_decides(notes: tuple[int, ...], label: str) -> None:
    doubtful = heard(*["C:maj"] * 80, certainty=0.5)
    doubtful.probabilities[LABELS.index("C:7")] = 0.3
    sound = triad(*notes, seconds=4.0)
    assert [chord.label for chord in to_harmony(doubtful, audio(sound, sound), GRID).chords] == [label]


def test_chords_may_change_with_every_beat() -> None:
    frames = (["C:maj"] * 10 + ["A:min"] * 10) * 4
    harmony = to_harmony(heard(*frames), audio(*[C[: len(C) // 4], A_MINOR[: len(A_MINOR) // 4]] * 4), GRID)
    assert [chord.label for chord in harmony.chords] == ["C:maj", "A:min"] * 4


def test_a_word_that_sounds_like_a_chord_is_none_where_there_is_no_beat() -> None:
    doubtful = heard(*["N"] * 30, *["C:maj"] * 10, *["N"] * 40, certainty=0.6)
    with_beat, without = (to_harmony(doubtful, audio(C, C), grid).chords for grid in (GRID, BeatGrid()))
    assert [chord.label for chord in with_beat] == ["N", "C:maj", "N"]
    assert [chord.label for chord in without] == ["N"]


def test_silence_before_and_after_a_song_leaves_its_key() -> None:
    silence = np.zeros_like(C)
    alone = to_harmony(heard(*["C:maj"] * 40, loudness=0.6), audio(C), BeatGrid())
    frames = heard(*["N"] * 40, *["C:maj"] * 40, *["N"] * 40, loudness=0.6)
    within = to_harmony(frames, audio(silence, C, silence), BeatGrid())
    assert alone.clear_key == within.clear_key == "C major"
    assert within.keys[0][1] == pytest.approx(alone.keys[0][1], abs=0.05)
