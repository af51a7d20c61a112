"""Tempo, beats and bars, compared with synthesised songs whose grid is known."""

import itertools

import mir_eval
import numpy as np
import pytest

from demo.synth import SAMPLE_RATE, Song, Synthesiser
from demo.synth.drums import add_hit
from demo.synth.styles import STYLES
from demo.synth.timbres import add_note
from musicgen_service.analysis.beats import BeatGrid, tempo_of, track

CLICKS_PER_MINUTE = [40, 60.23, 87.5, 140, 174, 300]


def clicks(bpm: float, seconds: float = 15.0, first: float = 0.1) -> np.ndarray:
    """A metronome: 20 ms of a decaying tone on every beat."""
    audio = np.zeros(round(seconds * SAMPLE_RATE), np.float32)
    time = np.arange(SAMPLE_RATE // 50) / SAMPLE_RATE
    tick = 0.5 * np.sin(2 * np.pi * 1500 * time) * np.exp(-time / 0.004)
    for beat in np.arange(first, seconds - 0.1, 60 / bpm):
        start = round(beat * SAMPLE_RATE)
        audio[start : start + len(tick)] += tick.astype(np.float32)
    return audio


def songs(bars_per_chord: float = 1.0) -> list[Song]:
    """One of each style at any tempo, every other one without drums, two in 3/4; not the seeds of bench/."""
    tempi = np.random.default_rng(8).uniform(60, 180, len(STYLES))
    return [
        Synthesiser().song(
            610_000_000 + index,
            20.0,
            start=1.3 * index,
            style=style,
            bpm=float(bpm),
            drums=index % 2 == 0,
            lead=True,
            beats_per_bar=3 if index in (2, 7) else 4,
            bars_per_chord=bars_per_chord,
        )
        for index, (style, bpm) in enumerate(zip(STYLES, tempi, strict=True))
    ]


def test_songs_of_every_style_are_tracked() -> None:
    read = [(song, track(song.audio, SAMPLE_RATE)) for song in songs()]
    beats = [mir_eval.beat.f_measure(song.beats, grid.beats) for song, grid in read]
    bars = [mir_eval.beat.f_measure(song.downbeats, grid.downbeats) for song, grid in read]
    tempi = [abs(grid.tempo / song.bpm - 1) < 0.01 for song, grid in read]
    assert np.mean(beats) >= 0.85
    assert np.mean(bars) >= 0.75
    assert np.mean(tempi) >= 0.85


def test_chords_may_last_two_bars() -> None:
    read = [(song, track(song.audio, SAMPLE_RATE)) for song in songs(bars_per_chord=2)]
    assert np.mean([mir_eval.beat.f_measure(song.beats, grid.beats) for song, grid in read]) >= 0.75
    assert np.mean([mir_eval.beat.f_measure(song.downbeats, grid.downbeats) for song, grid in read]) >= 0.8


@pytest.mark.parametrize("bpm", CLICKS_PER_MINUTE)
def test_metronome_at_the_requested_tempo_is_tracked_exactly(bpm: float) -> None:
    grid = track(clicks(bpm), SAMPLE_RATE, tempo=bpm)
    assert grid.tempo == pytest.approx(bpm, rel=0.001)
    expected = np.arange(0.1, 14.9, 60 / bpm)
    assert mir_eval.beat.f_measure(expected, grid.beats, f_measure_threshold=0.02) > 0.95
    assert grid.confidence > 0.75


@pytest.mark.parametrize("bpm", CLICKS_PER_MINUTE)
def test_metronome_without_requested_tempo_is_tracked_at_a_multiple(bpm: float) -> None:
    ratio = track(clicks(bpm), SAMPLE_RATE).tempo / bpm
    # Slow clicks may equally well be downbeats.
    assert min(abs(ratio / multiple - 1) for multiple in (1 / 3, 0.5, 1, 2, 3, 4)) < 0.001


def test_requested_tempo_decides_between_octaves() -> None:
    audio = clicks(140)
    for tempo in (70, 140, 280):
        assert track(audio, SAMPLE_RATE, tempo=tempo).tempo == pytest.approx(tempo, rel=0.001)


def test_clear_evidence_overrides_the_requested_tempo() -> None:
    song = Synthesiser().song(620_000_001, 15.0, style="rock", bpm=100, drums=True, beats_per_bar=4)
    assert track(song.audio, SAMPLE_RATE, tempo=128).tempo == pytest.approx(100, rel=0.01)


def test_a_waltz_has_three_beats_in_a_bar() -> None:
    song = Synthesiser().song(620_000_002, 20.0, style="pop", bpm=110, drums=True, lead=True, beats_per_bar=3)
    grid = track(song.audio, SAMPLE_RATE)
    assert grid.beats_per_bar == 3
    assert mir_eval.beat.f_measure(song.downbeats, grid.downbeats) > 0.9


@pytest.mark.parametrize(("beats", "accents", "bpm"), [(5, (0, 3), 150), (7, (0, 4), 167)])
def test_bars_of_five_and_seven_are_heard(beats: int, accents: tuple[int, ...], bpm: float) -> None:
    bars = 10
    sound = np.zeros(round((bars * beats + 2) * 60 / bpm * SAMPLE_RATE), np.float32)

    def sample(beat: float) -> int:
        return round(beat * 60 / bpm * SAMPLE_RATE)

    for bar, root in zip(range(bars), itertools.cycle((48, 53, 55, 57)), strict=False):
        for note in (root, root + 4, root + 7):
            add_note(sound, "piano", note, sample(bar * beats), sample(beats) - 100, 0.15)
        for beat in range(beats):
            at = bar * beats + beat
            add_hit(sound, "electronic", "kick" if beat in accents else "snare", sample(at), 0.6)
            add_hit(sound, "electronic", "hat", sample(at + 0.5), 0.25)
    grid = track(sound, SAMPLE_RATE)
    assert grid.metre == f"{beats}/4" and grid.tempo == pytest.approx(bpm, rel=0.002)
    assert np.abs(np.diff(grid.downbeats) - beats * 60 / bpm).max() < 0.03 and grid.downbeats[0] < 0.05


def test_a_drifting_tempo_is_followed() -> None:
    song = Synthesiser().song(620_000_003, 50.0, style="rock", bpm=110, drums=True, beats_per_bar=4)
    # The tempo varies by up to 4 %: the time in the song at each time in the recording.
    recorded = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE
    in_song = recorded + 0.04 * 40 / (2 * np.pi) * (1 - np.cos(2 * np.pi * recorded / 40))
    audio = np.interp(in_song * SAMPLE_RATE, np.arange(len(song.audio)), song.audio).astype(np.float32)
    truth = np.interp(song.beats[song.beats < in_song[-1]], in_song, recorded)
    assert mir_eval.beat.f_measure(truth, track(audio, SAMPLE_RATE).beats) > 0.95


def test_a_change_of_tempo_is_followed() -> None:
    song = Synthesiser().song(620_000_003, 60.0, style="rock", bpm=110, drums=True, beats_per_bar=4)
    recorded = np.arange(40 * SAMPLE_RATE) / SAMPLE_RATE
    in_song = np.where(recorded < 18, recorded, 18 + 1.2 * (recorded - 18))
    audio = np.interp(in_song * SAMPLE_RATE, np.arange(len(song.audio)), song.audio).astype(np.float32)
    truth = np.interp(song.beats[song.beats < in_song[-1]], in_song, recorded)
    assert mir_eval.beat.f_measure(truth, track(audio, SAMPLE_RATE, tempo=120).beats) > 0.9


def test_a_changing_tempo_is_the_usual_one() -> None:
    steady, drifting = np.arange(40) * 0.5, np.arange(40) * 0.5 + 0.04 * np.sin(np.arange(40) / 6)
    assert tempo_of(steady) == pytest.approx(120)
    assert tempo_of(drifting) == pytest.approx(120, rel=0.005)
    # Most of it at 120: a line fitted to all would have 127.
    assert tempo_of(np.concatenate([steady[:30], steady[29] + 0.4 * np.arange(1, 15)])) == pytest.approx(120)


def test_a_long_silence_has_no_beats() -> None:
    song = Synthesiser().song(620_000_006, 16.0, style="rock", bpm=120, drums=True, beats_per_bar=4)
    audio = song.audio.copy()
    audio[6 * SAMPLE_RATE : 10 * SAMPLE_RATE] = 0
    grid = track(audio, SAMPLE_RATE, tempo=120)
    silent = (grid.beats > 6.6) & (grid.beats < 9.4)
    assert not silent.any() and np.isin(grid.downbeats, grid.beats).all()
    assert (grid.beats < 6).sum() > 8 and (grid.beats > 10).sum() > 8


def test_confidences_of_all_readings_add_up_to_at_most_one() -> None:
    grid = track(clicks(140), SAMPLE_RATE)
    others = [other.confidence for other in grid.alternatives]
    assert others and others == sorted(others, reverse=True)
    assert grid.confidence + sum(others) <= 1.0001 and 0 < grid.metre_confidence <= 1


def test_a_grid_is_consistent() -> None:
    song = Synthesiser().song(620_000_004, 12.0, style="pop", drums=True, start=2.5)
    grid = track(song.audio, SAMPLE_RATE)
    assert np.isin(grid.downbeats, grid.beats).all()
    assert (np.diff(grid.beats) > 0).all() and grid.beats[0] >= 0 and grid.beats[-1] < 12
    assert np.diff(grid.beats).mean() == pytest.approx(60 / grid.tempo, rel=0.001)
    assert {len(np.flatnonzero((grid.beats >= a) & (grid.beats < b))) for a, b in
            zip(grid.downbeats, grid.downbeats[1:], strict=False)} == {grid.beats_per_bar}  # fmt: skip


def test_channels_rates_and_levels_make_no_difference() -> None:
    import soxr

    song = Synthesiser().song(620_000_005, 12.0, style="rock", bpm=120, drums=True, beats_per_bar=4)
    stereo = np.stack([song.audio, 0.2 * song.audio])
    for rate, samples in [
        (SAMPLE_RATE, stereo),
        (SAMPLE_RATE, song.audio * np.float32(0.01)),
        *((rate, soxr.resample(song.audio, SAMPLE_RATE, rate)) for rate in (8_000, 44_100, 192_000)),
    ]:
        grid = track(samples, rate)
        assert grid.tempo == pytest.approx(120, rel=0.002)
        assert mir_eval.beat.f_measure(song.beats, grid.beats) > 0.95


@pytest.mark.parametrize("samples", [0, 1, 2, 1000, 6400])
def test_too_short_audio_has_no_beats(samples: int) -> None:
    assert_empty(track(np.full((2, samples), 0.1, np.float32), SAMPLE_RATE, tempo=120))


def test_silence_has_no_beats() -> None:
    assert_empty(track(np.zeros((1, 5 * SAMPLE_RATE), np.float32), SAMPLE_RATE))


@pytest.mark.parametrize("kind", ["noise", "hum", "constant"])
def test_sound_without_a_pulse_has_no_beats(kind: str) -> None:
    random = np.random.default_rng(3)
    time = np.arange(10 * SAMPLE_RATE) / SAMPLE_RATE
    audio = {
        "noise": random.normal(0, 0.2, len(time)),
        "hum": 0.3 * np.sin(2 * np.pi * 50 * time),
        "constant": np.full(len(time), 0.5),
    }[kind]
    assert_empty(track(audio.astype(np.float32), SAMPLE_RATE))


def assert_empty(grid: BeatGrid) -> None:
    assert (grid.tempo, grid.confidence, len(grid.beats), len(grid.downbeats)) == (0.0, 0.0, 0, 0)
