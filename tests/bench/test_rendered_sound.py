"""Performances, mixing, and clips from beginning to end."""

from pathlib import Path

import numpy as np
import pytest
import scipy

from bench import rendered
from bench.rendered import making, midi, mixing
from bench.rendered.midi import RATE
from bench.rendered.performance import TIMINGS, Performance
from bench.rendered.score import ScoreNote
from musicgen_service.audio.lufs import integrated_loudness


def noise(seconds: float = 3.0, level: float = 0.1) -> mixing.Samples:
    white = level * np.random.default_rng(1).standard_normal(round(seconds * RATE))
    return scipy.signal.sosfilt(scipy.signal.butter(4, 4000, fs=RATE, output="sos"), white).astype(np.float32)


@pytest.mark.parametrize("timing", TIMINGS)
def test_beats_follow_each_other_near_the_tempo(timing: str) -> None:
    playing = Performance(timing, 120.0, 32, 0.0, np.random.default_rng(2))
    intervals = np.diff(playing.seconds(np.arange(33.0)))
    assert np.all(np.abs(intervals / 0.5 - 1) < 0.35)
    assert (np.ptp(intervals) < 1e-9) == (timing == "steady")


def test_swing_delays_the_second_half_of_a_beat_and_no_beat() -> None:
    playing = Performance("steady", 60.0, 8, 0.16, np.random.default_rng(2))
    notes = [ScoreNote(at, at + 0.25, 60) for at in (0.0, 0.5, 0.75, 1.0)]
    starts = [note.start for note, _ in playing.play(notes)]
    assert starts == pytest.approx([0, 0.66, 0.83, 1.0])


@pytest.mark.parametrize(("codec", "kilobits"), [(name, rates[0]) for name, (_, _, rates) in mixing.CODECS.items()])
def test_a_codec_keeps_the_time(codec: str, kilobits: int) -> None:
    given = noise()
    heard = mixing.coded(given, codec, kilobits)
    lag = int(scipy.signal.correlate(heard, given, method="fft").argmax()) - len(given) + 1
    assert len(heard) == len(given) and lag == 0
    assert not np.array_equal(heard, given)


@pytest.mark.parametrize("lufs", [-40.0, -14.0])
def test_levels_are_as_asked_for(lufs: float) -> None:
    assert integrated_loudness(mixing.levelled(noise(), lufs)[None], RATE) == pytest.approx(lufs, abs=0.5)


def test_a_mix_has_its_groups_at_their_levels() -> None:
    low, high = (np.sin(2 * np.pi * f * np.arange(RATE) / RATE).astype(np.float32) for f in (200, 2000))
    spectrum = np.abs(np.fft.rfft(mixing.mixed([(low, 0.0), (0.01 * high, -6.0), (0 * low, 0.0)])))
    assert 20 * np.log10(spectrum[2000] / spectrum[200]) == pytest.approx(-6, abs=0.1)


def test_compression_brings_loud_and_quiet_nearer() -> None:
    samples = np.concatenate([noise(1.0, 0.3), noise(1.0, 0.03)])
    squeezed = mixing.compressed(samples, 8.0)
    ratios = [np.std(part[:RATE]) / np.std(part[RATE:]) for part in (samples, squeezed)]
    assert ratios[1] < 0.6 * ratios[0]


def test_a_room_goes_on_after_the_sound() -> None:
    burst = np.zeros(2 * RATE, np.float32)
    burst[: RATE // 2] = noise(0.5)
    wet = mixing.reverberated(burst, 1.5, 0.3, np.random.default_rng(1))
    assert np.std(wet[RATE : RATE + 4410]) > 0.005 * np.std(wet[:4410])


def test_without_clips_the_sentence_says_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.rendered"):
        rendered.load(folder=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not midi.is_installed(), reason="needs fluidsynth and its soundfont")
def test_a_number_makes_one_clip_whose_truth_is_what_sounds(tmp_path: Path) -> None:
    pytest.importorskip("music21")
    pytest.importorskip("mido")
    first, again = making.make(13, tmp_path / "first"), making.make(13, tmp_path / "again")
    audio = first.audio()
    assert np.array_equal(audio.samples, again.audio().samples)
    [loaded] = rendered.load(folder=tmp_path / "first")
    assert loaded.split == making.split(13)
    assert loaded.melody == first.melody and loaded.chords == first.chords and loaded.kind == "voices"
    assert np.allclose(loaded.beats, first.beats, atol=1e-4)
    assert audio.seconds == pytest.approx(loaded.chords[-1].end, abs=0.01)
    # Each note of the melody is louder in the fifth of a second after its beginning than right before the clip's first.
    window = RATE // 5
    heard = [np.std(audio.mono[int(n.start * RATE) :][:window]) for n in loaded.melody if n.start < audio.seconds - 0.3]
    assert np.median(heard) > 0.3 * np.std(audio.mono)
