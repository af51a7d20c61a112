"""Chords and keys, compared with synthesised songs whose harmony is known."""

from itertools import pairwise

import numpy as np
import pytest

from bench.analysis import chord_score
from demo.measure import relative_key
from demo.synth import SAMPLE_RATE, Song, Synthesiser
from demo.synth.styles import STYLES
from demo.synth.timbres import add_note
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import LABELS, ChordSegment, chroma, recognise
from tests.support.recordings import recording

NO_GRID = BeatGrid()


def triad(*midi: int, seconds: float = 2.0, timbre: str = "piano") -> np.ndarray:
    audio = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    for note in midi:
        add_note(audio, timbre, note, 0, len(audio), 0.2)
    return audio


def songs() -> list[Song]:
    """One of each style, every other one without drums; not the seeds of bench/."""
    return [
        Synthesiser().song(630_000_000 + i, 15.0, style=style, drums=i % 2 == 0, start=1.7 * i)
        for i, style in enumerate(STYLES)
    ]


def test_chords_and_keys_of_songs_are_recognised() -> None:
    scores, keys = [], []
    for song in songs():
        harmony = recognise(song.audio, SAMPLE_RATE)
        found = harmony.chords
        scores.append(chord_score(song.chords, found))
        keys.append(harmony.keys[0][0] in (song.key, relative_key(song.key)))
        assert found[0].start == 0 and found[-1].end == pytest.approx(15)
        assert all(a.end == b.start and a.label != b.label for a, b in pairwise(found))
    assert np.mean(scores) >= 0.85
    assert np.mean(keys) >= 0.85


@pytest.mark.parametrize(
    ("notes", "label"),
    [((48, 52, 55), "C:maj"), ((57, 60, 64), "A:min"), ((54, 58, 61), "F#:maj"), ((51, 54, 58), "Eb:min")],
)
@pytest.mark.parametrize("timbre", ["piano", "strings"])
def test_triads_are_recognised(notes: tuple[int, ...], label: str, timbre: str) -> None:
    found = recognise(triad(*notes, timbre=timbre), SAMPLE_RATE).chords
    assert max(found, key=lambda s: s.end - s.start).label == label


@pytest.mark.parametrize(("bass", "label"), [(45, "A:min"), (36, "C:maj")])
def test_the_bass_decides_what_a_third_belongs_to(bass: int, label: str) -> None:
    assert recognise(triad(60, 64) + triad(bass), SAMPLE_RATE, NO_GRID).chords[0].label == label


@pytest.mark.parametrize("semitones", [-0.4, 0.2, 0.45])
def test_music_that_is_off_concert_pitch_is_recognised(semitones: float) -> None:
    import soxr

    audio = soxr.resample(triad(48, 52, 55, seconds=4.0), SAMPLE_RATE, SAMPLE_RATE * 2 ** (-semitones / 12))
    assert {segment.label for segment in recognise(audio, SAMPLE_RATE).chords} == {"C:maj"}


@pytest.mark.parametrize("kind", ["silence", "noise", "drums", "one voice"])
def test_sound_without_a_chord_is_labelled_n(kind: str) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 4 * SAMPLE_RATE).astype(np.float32)
    audio = {
        "silence": 0 * noise,
        "noise": noise,
        "drums": Synthesiser().song(1, 4.0, style="rock", drums=True).stems["drums"],
        "one voice": triad(64, seconds=4.0),
    }[kind]
    assert recognise(audio, SAMPLE_RATE).chords == [ChordSegment(0.0, 4.0, "N")]


@pytest.mark.parametrize("samples", [1, 100, 6400])
def test_a_moment_of_sound_is_one_segment(samples: int) -> None:
    harmony = recognise(np.full((2, samples), 0.1, np.float32), SAMPLE_RATE)
    [chord] = harmony.chords
    assert chord.end == pytest.approx(samples / SAMPLE_RATE, abs=1e-4) and chord.label == "N" and not harmony.keys
    assert recognise(np.zeros((1, 0), np.float32), SAMPLE_RATE).chords == []


@pytest.mark.parametrize("rate", [8_000, 22_050, 192_000])
def test_any_sample_rate_and_both_channels_are_used(rate: int) -> None:
    import soxr

    audio = soxr.resample(triad(57, 60, 64), SAMPLE_RATE, rate)
    silent_left = np.stack([np.zeros_like(audio), audio])
    assert recognise(silent_left, rate).chords[0].label == "A:min"


def test_given_grid_is_used_for_chord_boundaries() -> None:
    audio = np.concatenate([triad(48, 52, 55), triad(53, 57, 60), triad(55, 59, 62)])
    grid = BeatGrid(60.0, np.arange(6.0), np.arange(0, 6.0, 2), 4, 1.0)
    assert recognise(audio, SAMPLE_RATE, grid).chords == [(0, 2, "C:maj"), (2, 4, "F:maj"), (4, 6, "G:maj")]


def test_chroma_holds_the_pitch_classes_from_c_up() -> None:
    segments = [ChordSegment(0, 10, "C:maj"), ChordSegment(10, 20, "A:min"), ChordSegment(20, 30, "N")]
    table = chroma(segments)
    assert table.shape == (12, 235) and table.dtype == np.float32
    assert [np.flatnonzero(table[:, frame]).tolist() for frame in (0, 77, 79, 155, 157, 234)] == [
        [0, 4, 7],
        [0, 4, 7],
        [0, 4, 9],
        [0, 4, 9],
        [],
        [],
    ]


def test_chroma_has_every_note_of_a_chord() -> None:
    assert np.flatnonzero(chroma([ChordSegment(0, 30, "G:7")])[:, 0]).tolist() == [2, 5, 7, 11]


def test_the_coefficient_scales_chroma() -> None:
    segments = [ChordSegment(0, 2, "F#:min")]
    neutral = chroma(segments, frames=20, seconds=4.0)
    assert set(np.unique(neutral)) == {0, 1} and neutral[:, 10:].sum() == 0
    assert np.array_equal(chroma(segments, frames=20, seconds=4.0, coefficient=1.7), np.float32(1.7) * neutral)


def test_chroma_bins_are_those_of_the_melody_checkpoints() -> None:
    from librosa.filters import chroma as filters

    # audiocraft's ChromaExtractor folds a spectrum with this very table.
    table = filters(sr=SAMPLE_RATE, n_fft=16384, tuning=0, n_chroma=12)
    bins = [round(440 * 2 ** ((midi - 69) / 12) * 16384 / SAMPLE_RATE) for midi in (60, 64, 67)]
    expected = [int(table[:, b].argmax()) for b in bins]
    assert expected == np.flatnonzero(chroma([ChordSegment(0, 30, "C:maj")])[:, 0]).tolist()


def test_a_dense_recording_of_people_has_chords_throughout() -> None:
    band = recording("fishin")
    assert "N" not in [chord.label for chord in recognise(band.mono, band.rate).chords]


def test_each_chord_comes_with_what_else_it_may_be() -> None:
    grid = BeatGrid(60.0, np.arange(4.0), np.arange(0, 4.0, 2), 4, 1.0)
    harmony = recognise(np.concatenate([triad(48, 52, 55), triad(57, 60, 64)]), SAMPLE_RATE, grid)
    assert [candidates[0][0] for candidates in harmony.candidates] == ["C:maj", "A:min"]
    for candidates in harmony.candidates:
        shares = [share for _, share in candidates]
        assert len(candidates) > 1 and shares == sorted(shares, reverse=True) and sum(shares) <= 1


def test_key_is_recognised_from_audio() -> None:
    song = Synthesiser().song(640_000_000, 15.0, key=4, mode="minor", style="pop", drums=False, beats_per_bar=4)
    name, confidence = recognise(song.audio, SAMPLE_RATE).keys[0]
    assert name in ("E minor", "G major") and 0.3 < confidence <= 1


def test_what_has_no_chord_has_no_key() -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 4 * SAMPLE_RATE).astype(np.float32)
    assert not recognise(noise, SAMPLE_RATE).keys


def test_there_are_25_classes() -> None:
    assert len(set(LABELS)) == 25


def test_silence_before_and_after_a_song_leaves_its_key() -> None:
    sound = np.concatenate([triad(48, 52, 55), triad(53, 57, 60), triad(55, 59, 62), triad(48, 52, 55)])
    silence = np.zeros(12 * SAMPLE_RATE, np.float32)
    alone, within = (recognise(audio, SAMPLE_RATE, BeatGrid()) for audio in (sound, np.concatenate([silence, sound])))
    assert alone.keys[0][0] == within.keys[0][0] == "C major"
    assert within.keys[0][1] == pytest.approx(alone.keys[0][1], abs=0.1)
