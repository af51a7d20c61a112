"""Chords heard by crema's network with its own weights, and by what needs none where it is not installed."""

import numpy as np
import pytest

from demo.synth import SAMPLE_RATE
from demo.synth.timbres import add_note
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordRecogniser, Harmony
from musicgen_service.models import chord_recognition, packaged
from musicgen_service.models.catalogue import CREMA
from tests.support.recordings import recording

NO_GRID = BeatGrid()


@pytest.fixture(scope="module")
def recognise() -> ChordRecogniser:
    assert packaged.has(CREMA), "run make install"
    return chord_recognition.choose()


def played(*midi: int, seconds: float = 6.0, timbre: str = "piano") -> np.ndarray:
    """A chord, struck every second and a half."""
    audio = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for start in range(0, len(audio), 3 * SAMPLE_RATE // 2):
        for note in midi:
            add_note(audio, timbre, note, start, min(len(audio) - start, 3 * SAMPLE_RATE // 2), 0.2)
    return audio


def longest(harmony: Harmony) -> str:
    return max(harmony.chords, key=lambda chord: chord.end - chord.start).label


def share_without(harmony: Harmony) -> float:
    lengths = [(chord.end - chord.start, chord.label) for chord in harmony.chords]
    return sum(length for length, label in lengths if label == "N") / sum(length for length, _ in lengths)


def heard_on(recognise: ChordRecogniser, name: str) -> Harmony:
    audio = recording(name)
    return recognise(audio.mono, audio.rate, NO_GRID)


@pytest.mark.parametrize(
    ("notes", "label"),
    [
        ((36, 48, 52, 55), "C:maj"),
        ((45, 57, 60, 64), "A:min"),
        ((42, 54, 58, 61), "F#:maj"),
        ((39, 51, 55, 58, 61), "Eb:7"),
        ((38, 50, 53, 57, 60), "D:min7"),
        ((41, 53, 57, 60, 64), "F:maj7"),
        ((47, 59, 62, 65), "B:dim"),
        ((43, 55, 60, 62), "G:sus4"),
    ],
)
def test_a_chord_is_named(recognise: ChordRecogniser, notes: tuple[int, ...], label: str) -> None:
    assert longest(recognise(played(*notes), SAMPLE_RATE, NO_GRID)) == label


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_how_loud_a_recording_is_does_not_matter(recognise: ChordRecogniser, level: float) -> None:
    assert longest(recognise(level * played(45, 57, 60, 64), SAMPLE_RATE, NO_GRID)) == "A:min"


def test_keys_of_music_are_read(recognise: ChordRecogniser) -> None:
    for name, key in (("fishin", "Bb major"), ("sugarplum", "E minor")):
        harmony = heard_on(recognise, name)
        assert harmony.keys[0][0] == key and harmony.keys[0][1] > 0.4
        assert share_without(harmony) == 0


@pytest.mark.parametrize("name", ["speech_austen", "speech_ashiel", "speech_perceval", "whale", "loop_tabla"])
def test_speech_and_what_has_no_pitches_have_neither_chords_nor_a_key(recognise: ChordRecogniser, name: str) -> None:
    harmony = heard_on(recognise, name)
    assert share_without(harmony) > 0.9
    assert not harmony.keys or harmony.keys[0][1] < 0.2


def test_a_single_voice_has_a_key_but_no_chords(recognise: ChordRecogniser) -> None:
    harmony = heard_on(recognise, "trumpet_90")
    assert share_without(harmony) == 1
    assert harmony.keys[0][0] in ("F major", "F minor")


@pytest.mark.parametrize("samples", [0, 100, 3 * SAMPLE_RATE])
def test_silence_and_moments_have_nothing(recognise: ChordRecogniser, samples: int) -> None:
    harmony = recognise(np.zeros((2, samples), np.float32), SAMPLE_RATE, NO_GRID)
    assert [chord.label for chord in harmony.chords] == ["N"] * bool(samples) and not harmony.keys


def test_noise_is_nothing(recognise: ChordRecogniser) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 6 * SAMPLE_RATE).astype(np.float32)
    harmony = recognise(noise, SAMPLE_RATE, NO_GRID)
    assert longest(harmony) == "N" and not harmony.keys


@pytest.mark.parametrize("seconds", [0.8, 2.5, 49.0])
@pytest.mark.filterwarnings("error")
def test_recordings_of_any_length_are_covered_from_beginning_to_end(recognise: ChordRecogniser, seconds: float) -> None:
    harmony = recognise(played(45, 57, 60, 64, seconds=seconds), SAMPLE_RATE, NO_GRID)
    assert harmony.chords[0].start == 0 and harmony.chords[-1].end == pytest.approx(seconds, abs=1e-3)
    assert longest(harmony) == "A:min"
