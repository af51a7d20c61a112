"""MIDI files of what is heard: read back by mido, at the times and with the names that they were given."""

import io

import mido
import numpy as np
import pytest

from musicgen_service.analysis import midi
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.analysis.key import KEYS
from musicgen_service.analysis.transcription import Note, Transcription

BEATS = np.arange(0.3, 16, 0.6)
GRID = BeatGrid(100, BEATS, BEATS[1::4], 4, 1.0)
CHORDS = [ChordSegment(0.0, 3.3, "N"), ChordSegment(3.3, 8.1, "A:min7"), ChordSegment(8.1, 16.0, "F#:maj")]
HARMONY = Harmony(CHORDS, [], [("A minor", 0.8), ("C major", 0.1)])
VOICES = Transcription(
    [Note(0.31, 0.88, 69, 100), Note(0.88, 1.5, 69, 90), Note(12.0, 12.001, 72, 1)], [Note(3.31, 5.0, 33, 127)]
)


def written(grid: BeatGrid = GRID, harmony: Harmony = HARMONY, voices: Transcription = VOICES) -> mido.MidiFile:
    return mido.MidiFile(file=io.BytesIO(midi.encode(grid, harmony, voices)))


def played(file: mido.MidiFile, name: str) -> list[tuple[float, float, int, int]]:
    """Start, end, pitch and velocity of the notes of a track, in the file's own time."""
    [channel] = {message.channel for message in track(file, name) if not message.is_meta}
    notes, sounding, now = [], {}, 0.0
    for message in file:
        now += message.time
        if message.is_meta or message.channel != channel:
            continue
        if message.type == "note_on":
            assert message.note not in sounding
            sounding[message.note] = now, message.velocity
        elif message.type == "note_off":
            start, velocity = sounding.pop(message.note)
            notes.append((start, now, message.note, velocity))
    assert not sounding
    return sorted(notes)


def track(file: mido.MidiFile, name: str) -> mido.MidiTrack:
    return next(track for track in file.tracks if track.name == name)


def texts(messages: mido.MidiTrack, kind: str) -> list[str]:
    return [message.text for message in messages if message.type == kind]


@pytest.mark.parametrize(("name", "notes"), [("Melody", VOICES.melody), ("Bass", VOICES.bass)])
def test_notes_are_where_they_were_heard(name: str, notes: list[Note]) -> None:
    found = played(written(), name)
    assert [note[2:] for note in found] == [note[2:] for note in notes]
    for (start, end, *_), note in zip(found, notes, strict=True):
        assert start == pytest.approx(note.start, abs=2e-3)
        assert end == pytest.approx(max(note.end, note.start + 1e-3), abs=3e-3)


def test_chords_are_notes_and_names() -> None:
    file = written()
    found = played(file, "Chords")
    assert [pitch % 12 for _, _, pitch, _ in found] == [9, 0, 4, 7, 6, 10, 1]
    assert list(found[0][:2]) == pytest.approx([3.3, 8.1], abs=2e-3)
    for messages, kind in ((file.tracks[0], "marker"), (track(file, "Chords"), "text")):
        assert texts(messages, kind) == ["N.C.", "Am7", "F#"]


def test_the_first_track_has_tempo_metre_and_key() -> None:
    found = {message.type: message for message in written().tracks[0]}
    assert found["key_signature"].key == "Am"
    assert (found["time_signature"].numerator, found["time_signature"].denominator) == (4, 4)
    assert found["set_tempo"].tempo == pytest.approx(600_000, abs=2)


def test_a_bar_of_six_eighths_has_two_clicks() -> None:
    messages = written(BeatGrid(100, BEATS, BEATS[::2], 2, 1.0, "6/8")).tracks[0]
    signature = [message for message in messages if message.type == "time_signature"][-1]
    assert (signature.numerator, signature.denominator, signature.clocks_per_click) == (6, 8, 36)


def test_the_file_is_as_long_as_the_recording() -> None:
    assert written().length == pytest.approx(16, abs=2e-3)


@pytest.mark.parametrize("keys", [[], [("A minor", 0.1)]])
def test_an_unclear_key_is_not_written(keys: list[tuple[str, float]]) -> None:
    file = written(harmony=Harmony(CHORDS, [], keys))
    assert "key_signature" not in {message.type for message in file.tracks[0]}


@pytest.mark.parametrize("key", KEYS)
def test_every_key_has_a_signature(key: str) -> None:
    file = written(harmony=Harmony(CHORDS, [], [(key, 1.0)]))
    [found] = [message.key for message in file.tracks[0] if message.type == "key_signature"]
    assert found == key.replace(" major", "").replace(" minor", "m")


def test_a_bass_that_is_not_the_root_lies_below_the_chord() -> None:
    file = written(harmony=Harmony([ChordSegment(0.0, 16.0, "Bb:maj/3")]))
    assert [pitch for _, _, pitch, _ in played(file, "Chords")] == [38, 58, 62, 65]
    assert texts(file.tracks[0], "marker") == ["Bb/D"]


def test_nothing_heard_is_a_file_that_opens() -> None:
    file = written(BeatGrid(), Harmony([]), Transcription([], []))
    assert file.type == 1 and [t.name for t in file.tracks[1:]] == ["Chords", "Melody", "Bass"]
