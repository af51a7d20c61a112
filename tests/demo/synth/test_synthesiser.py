"""The synthesiser: the same seed gives the same song, and every label of a song is right."""

from itertools import pairwise

import mir_eval
import numpy as np
import pytest

from demo import measure
from demo.synth import SAMPLE_RATE, Song, Synthesiser
from demo.synth.styles import STYLES
from demo.synth.timbres import TIMBRES, add_note


def energy_rise(song: Song, stem: str, time: float) -> float:
    """Ratio of a stem's level in the 30 ms after a time to that in the 30 ms before."""
    audio, at, span = song.stems[stem], round(time * SAMPLE_RATE), round(0.03 * SAMPLE_RATE)
    return float((audio[at : at + span] ** 2).sum() - (audio[max(0, at - span) : at] ** 2).sum())


def test_the_same_seed_gives_the_same_song() -> None:
    first, second = Synthesiser().song(7), Synthesiser().song(7)
    assert np.array_equal(first.audio, second.audio)
    assert first.caption == second.caption
    assert not np.array_equal(first.audio, Synthesiser().song(8).audio)


def test_audio_is_unclipped_mono_float32_of_ten_seconds() -> None:
    song = Synthesiser().song(1, 10.0)
    assert song.audio.dtype == np.float32
    assert song.audio.shape == (10 * SAMPLE_RATE,)
    assert 0.1 < np.abs(song.audio).max() < 1


@pytest.mark.parametrize("seed", range(4))
def test_stems_sum_to_the_audio_exactly(seed: int) -> None:
    song = Synthesiser().song(seed)
    assert set(song.stems) == {"drums", "bass", "chords", "lead"}
    assert np.array_equal(
        np.sum([song.stems[name] for name in ("drums", "bass", "chords", "lead")], axis=0), song.audio
    )


@pytest.mark.parametrize(("bpm", "beats_per_bar"), [(60, 4), (97, 3), (180, 4)])
def test_beats_are_an_exact_grid(bpm: float, beats_per_bar: int) -> None:
    song = Synthesiser().song(3, 10.0, bpm=bpm, beats_per_bar=beats_per_bar)
    assert np.allclose(np.diff(song.beats), 60 / bpm)
    assert np.allclose(song.downbeats, song.beats[::beats_per_bar])
    assert song.beats[0] == 0
    assert song.beats[-1] < 10


def test_kicks_fall_on_the_downbeats() -> None:
    song = Synthesiser().song(5, style="house", drums=True, beats_per_bar=4, bpm=120)
    assert all(energy_rise(song, "drums", time) > 0 for time in song.downbeats[1:])


def test_a_clip_from_the_middle_of_a_song_keeps_its_labels_in_place() -> None:
    whole = Synthesiser().song(11, 8.0, drums=True)
    part = Synthesiser().song(11, 4.0, start=3.0, drums=True)
    assert np.allclose(part.beats, [beat - 3.0 for beat in whole.beats if 3.0 <= beat < 7.0])
    assert part.chords[0].start == 0
    assert part.chords[-1].end == 4.0
    loudness = [
        (stem[-SAMPLE_RATE:] ** 2).sum() for stem in (part.stems["drums"], whole.stems["drums"][: 7 * SAMPLE_RATE])
    ]
    assert loudness[0] == pytest.approx(loudness[1], rel=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_melody_notes_start_at_their_labels(seed: int) -> None:
    song = Synthesiser().song(seed, lead="piano")
    assert song.melody
    assert all(energy_rise(song, "lead", note.start) > 0 for note in song.melody if note.start < 9.5)


def test_melody_notes_have_the_pitch_of_their_labels() -> None:
    song = Synthesiser().song(2, lead="flute", bpm=70)
    for note in song.melody:
        if note.end - note.start > 0.4:
            note_audio = song.stems["lead"][round(note.start * SAMPLE_RATE) : round(note.end * SAMPLE_RATE)]
            spectrum = np.abs(np.fft.rfft(note_audio * np.hanning(len(note_audio)), 2**17))
            frequency = np.argmax(spectrum) * SAMPLE_RATE / 2**17
            assert abs(69 + 12 * np.log2(frequency / 440) - note.midi) < 0.3


def test_chords_cover_the_clip_in_labels_that_mir_eval_reads() -> None:
    song = Synthesiser().song(4)
    assert song.chords[0].start == 0
    assert song.chords[-1].end == 10
    assert all(a.end == b.start for a, b in zip(song.chords, song.chords[1:], strict=False))
    for chord in song.chords:
        mir_eval.chord.validate([chord.label], [chord.label])


def test_chords_have_the_notes_of_their_labels() -> None:
    song = Synthesiser().song(6, bpm=60, style="ambient", beats_per_bar=4)
    strength = measure.chroma(song.stems["chords"])
    for chord in song.chords[:2]:
        root, bitmap, _ = mir_eval.chord.encode(chord.label)
        middle = round((chord.start + chord.end) / 2 * SAMPLE_RATE / 512)
        assert set(np.argsort(strength[:, middle])[-3:]) == {(root + step) % 12 for step in np.flatnonzero(bitmap)}


def test_bars_per_chord_sets_how_long_chords_last() -> None:
    changes = {}
    for bars in (0.5, 1, 2):
        song = Synthesiser().song(6, 16.0, bpm=120, style="ambient", beats_per_bar=4, start=1.0, bars_per_chord=bars)
        assert song.chords[0].start == 0 and song.chords[-1].end == 16
        assert all(a.end == b.start for a, b in pairwise(song.chords))
        changes[bars] = [b.start for a, b in pairwise(song.chords) if a.label != b.label]
        assert {(change + 1) % (2 * bars) for change in changes[bars]} == {0}
        strength = measure.chroma(song.stems["chords"])
        sounding = [chord for chord in song.chords if chord.end - chord.start >= 1]
        for chord in sounding[1:6]:
            middle = round((chord.start + chord.end) / 2 * SAMPLE_RATE / 512)
            root, bitmap, _ = mir_eval.chord.encode(chord.label)
            assert set(np.argsort(strength[:, middle])[-3:]) == {(root + step) % 12 for step in np.flatnonzero(bitmap)}
    assert len(changes[0.5]) > len(changes[1]) > len(changes[2]) > 2


def test_snapped_onsets_lie_on_codec_frames() -> None:
    song = Synthesiser(snap=True).song(9, bpm=97, lead="piano")
    starts = np.array([note.start for note in song.melody])
    assert np.allclose(starts * 50, np.round(starts * 50))


def test_arguments_decide_the_song() -> None:
    song = Synthesiser().song(1, bpm=90, key=9, mode="minor", style="lofi", drums=False, lead="piano", beats_per_bar=4)
    assert song.key == "A minor"
    assert song.lead == "piano"
    assert not song.stems["drums"].any()
    assert "90 bpm" in song.caption
    assert any(words in song.caption for words in ("no drums", "without drums", "drumless", "no percussion"))


def test_no_two_timbres_are_alike() -> None:
    assert len(TIMBRES) >= 8
    sounds = {}
    for name in TIMBRES:
        sounds[name] = np.zeros(SAMPLE_RATE, np.float32)
        add_note(sounds[name], name, 57, 0, SAMPLE_RATE // 2, 0.5)
    names = list(sounds)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            assert not np.allclose(sounds[first], sounds[second], atol=1e-3)


def test_songs_differ_and_repeat_their_progressions() -> None:
    songs = [Synthesiser().song(seed) for seed in range(40)]
    assert len({song.style for song in songs}) > len(STYLES) / 2
    assert {song.beats_per_bar for song in songs} == {3, 4}
    assert len({song.key for song in songs}) > 10
    song = Synthesiser().song(0, 30.0, bpm=120, beats_per_bar=4)
    labels = [chord.label for chord in song.chords]
    assert labels[:4] == labels[4:8]
