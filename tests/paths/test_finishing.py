"""What is done to clips at last: exact lengths at every rate, whole bars, repetitions, fades, and stems that add up."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from demo.synth import Synthesiser
from musicgen_service import notes, paths
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio.encoding import quantised, stored
from musicgen_service.audio.reading import Audio
from musicgen_service.paths.job import Clip
from tests.paths.test_streaming import Ear
from tests.support.fake_music_model import RATE, FakeMusicModel, job_for, jump_at_the_seam
from tests.support.sounds import tone

RATES = (32_000, 44_100, 48_000)
SEPARATOR_RATE = 44_100


def hum(_seed: int, seconds: float) -> np.ndarray:
    return tone(seconds, amplitude=0.2)[0]


def house(_seed: int, seconds: float) -> np.ndarray:
    return Synthesiser().song(6, seconds, bpm=124, beats_per_bar=4, drums=True).audio


def steady(samples: np.ndarray, rate: int, _tempo: float | None) -> BeatGrid:
    """A tracker that hears 124 bpm from 0.3 s on."""
    beats = np.arange(0.3, samples.shape[-1] / rate, 60 / 124)
    return BeatGrid(124, beats, beats[::4], 4, 1.0)


def split(audio: Audio) -> tuple[Audio, Audio]:
    """A separator of two sources that are louder than what they are taken from, and do not add up to it."""
    sound = audio.convert(SEPARATOR_RATE, 2).samples
    return Audio(1.5 * sound, SEPARATOR_RATE), Audio(0.1 * sound[:, ::-1], SEPARATOR_RATE)


def made(play: Any = hum, channels: int = 1, song: Audio | None = None, **inputs: Any) -> list[Clip]:
    job = job_for(FakeMusicModel(play, channels), song, split, steady, **{"task": "text", "prompt": "a"} | inputs)
    return list(paths.generate(job))


def loops(**inputs: Any) -> list[Clip]:
    return made(house, task="loop", bpm=124, **inputs)


def pitch(samples: np.ndarray, rate: int) -> float:
    """The strongest frequency in Hz."""
    spectrum = np.abs(np.fft.rfft(samples[0] * np.hanning(samples.shape[1]), 2**20))
    return float(spectrum.argmax() * rate / 2**20)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seconds", [1.0, 1.37, 2.00001, 3.141592])
def test_a_clip_has_the_length_asked_for_at_every_rate(rate: int, seconds: float) -> None:
    [clip] = made(channels=2, duration=seconds, sample_rate=rate)
    assert clip.samples.shape == (2, round(seconds * rate)) and clip.samples.dtype == np.float32
    assert pitch(clip.samples, rate) == pytest.approx(220, abs=1)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_what_a_recording_gives_keeps_its_length(rate: int) -> None:
    song = Audio(tone(1.22, rate=rate), rate)
    [clip] = made(song=song, task="encode-decode", sample_rate=44_100)
    assert clip.samples.shape[1] == round(song.seconds * 44_100)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("repeat", [1, 8])
def test_repeated_loops_have_exact_bars_at_every_rate(rate: int, repeat: int) -> None:
    [clip] = loops(sample_rate=rate, repeat=repeat)
    assert clip.music.beats == 16 * repeat
    assert clip.samples.shape[1] == round(16 * repeat * 60 / 124 * rate)
    assert jump_at_the_seam(clip.samples) < 1
    once = 16 * 60 / 124 * rate
    for number in range(1, repeat):
        start = round(number * once)
        again = clip.samples[:, start : start + round(once) - 1]
        assert np.corrcoef(again[0], clip.samples[0, : again.shape[1]])[0, 1] > 0.97  # half a sample later at most


def test_a_loop_is_the_same_sound_at_another_rate() -> None:
    [plain], [finer] = loops(), loops(sample_rate=48_000)
    [back] = [Audio(np.tile(finer.samples, 3), 48_000).convert(RATE, 1).samples]
    middle = back[:, plain.samples.shape[1] :][:, : plain.samples.shape[1]]
    assert np.abs(middle - plain.samples).max() < 0.05


def test_midi_of_a_repeated_loop_is_repeated(tmp_path: Path) -> None:
    [clip] = loops(repeat=4, return_midi=True)
    assert clip.midi is not None
    (tmp_path / "loop.mid").write_bytes(clip.midi)
    file = mido.MidiFile(tmp_path / "loop.mid")
    assert file.length == pytest.approx(4 * 16 * 60 / 124, abs=0.01)
    assert sum(message.type == "note_on" for message in file.tracks[2]) == 4  # one in each


def test_beats_of_a_midi_file_are_sought_at_the_tempo_of_the_prompt() -> None:
    sought = []

    def track(samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        sought.append(tempo)
        return steady(samples, rate, tempo)

    job = job_for(FakeMusicModel(hum), track=track, task="text", prompt="house, 124 bpm", return_midi=True)
    assert list(paths.generate(job)) and sought == [124]


def test_a_loop_in_six_eighths_has_such_bars_in_its_midi_file(tmp_path: Path) -> None:
    def track(samples: np.ndarray, rate: int, _tempo: float | None) -> BeatGrid:
        beats = np.arange(0.3, samples.shape[-1] / rate, 60 / 124)
        return BeatGrid(124, beats, beats[::2], 2, 1.0, "6/8")

    [clip] = paths.generate(job_for(FakeMusicModel(house), track=track, task="loop", bpm=124, return_midi=True))
    assert clip.midi is not None
    (tmp_path / "loop.mid").write_bytes(clip.midi)
    [signature] = [m for m in mido.MidiFile(tmp_path / "loop.mid").tracks[0] if m.type == "time_signature"]
    assert (signature.numerator, signature.denominator) == (6, 8)


SECTIONS = "intro 2 s: piano; strophe 🎹 6 s: drums"


def sections_of(clip: Clip, folder: Path) -> list[tuple[float, str]]:
    """The markers of a clip's MIDI file that are no chords, with their times in seconds."""
    assert clip.midi is not None
    (folder / "clip.mid").write_bytes(clip.midi)
    now, found = 0.0, []
    for message in mido.MidiFile(folder / "clip.mid", charset="utf-8"):
        now += message.time
        if message.type == "marker" and message.text in ("intro", "strophe 🎹"):
            found.append((round(now, 2), message.text))
    return found


def test_midi_has_a_marker_for_each_section(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"sections": SECTIONS, "return_midi": True}
    [clip] = made(duration=8, **asked)
    assert sections_of(clip, tmp_path) == [(0.0, "intro"), (2.0, "strophe 🎹")]
    # The first one begins where the recording ends.
    [clip] = made(song=Audio(tone(1.28), RATE), task="continuation", duration=9.28, **asked)
    assert sections_of(clip, tmp_path) == [(1.28, "intro"), (3.28, "strophe 🎹")]
    # Cut at the first downbeat.
    [clip] = made(duration=8, trim_to_bars=True, **asked)
    assert sections_of(clip, tmp_path) == [(0.0, "intro"), (1.7, "strophe 🎹")]


def test_fades_go_from_silence_to_silence() -> None:
    [plain] = made(duration=4, normalization_strategy="clip")
    [faded] = made(duration=4, fade_in=1, fade_out=2, normalization_strategy="clip")
    gain = faded.samples / np.where(np.abs(plain.samples) > 1e-3, plain.samples, np.nan)
    for second, expected in ((0.001, 0), (0.5, 0.5), (1.5, 1), (3, 0.5), (3.999, 0)):
        near = gain[0, round((second - 0.001) * RATE) : round((second + 0.001) * RATE)]
        assert np.nanmedian(near) == pytest.approx(expected, abs=0.01)
    assert faded.samples[0, 0] == faded.samples[0, -1] == 0


def test_fades_longer_than_the_clip_are_shortened_with_a_note() -> None:
    song = Audio(tone(2), RATE)
    with notes.collected() as noted:
        [clip] = made(song=song, task="encode-decode", fade_in=3.0, fade_out=1.0)
    assert noted == ["The clip has 2 s, so its fades, 4 s together, are shortened."]
    loudest = np.abs(clip.samples[0]).reshape(-1, RATE // 10).max(axis=1).argmax()
    assert loudest in (14, 15)


def test_a_clip_is_cut_to_whole_bars() -> None:
    [clip] = made(duration=8, trim_to_bars=True, bpm=124)
    # Three bars fit behind 0.3 s.
    assert clip.samples.shape[1] == round((0.3 + 12 * 60 / 124) * RATE) - round(0.3 * RATE)
    assert clip.samples[0, 0] == 0, "there is no click"
    [finer] = made(duration=8, trim_to_bars=True, sample_rate=48_000)
    assert finer.samples.shape[1] == round(clip.samples.shape[1] * 1.5)


def test_a_clip_without_a_bar_stays_as_it_is_with_a_note() -> None:
    with notes.collected() as noted:
        [clip] = made(duration=1, trim_to_bars=True)
    assert clip.samples.shape[1] == RATE
    assert noted == ["No whole bar is heard in the clip, so trim_to_bars has no effect."]


@pytest.mark.parametrize(
    ("bits", "rate", "inputs"),
    [
        (16, None, {}),
        (24, 48_000, {"task": "loop", "bpm": 124, "repeat": 2}),
        (32, 44_100, {"fade_out": 1.0, "trim_to_bars": True}),
    ],
)
def test_stems_add_up_to_the_clip(bits: int, rate: int | None, inputs: dict[str, Any]) -> None:
    whole, *stems = made(house, 2, return_stems=True, bit_depth=bits, sample_rate=rate, **inputs)
    assert [clip.part for clip in stems] == ["vocals", "accompaniment"]
    assert all(clip.samples.shape == whole.samples.shape and np.abs(clip.samples).max() <= 1 for clip in stems)
    # As they are in the files.
    total = sum(quantised(clip.samples, bits).astype(np.float64) for clip in stems)
    assert np.abs(total - quantised(whole.samples, bits)).max() <= {16: 0, 24: 256, 32: 1e-6}[bits]
    assert all(np.array_equal(clip.samples, stored(clip.samples, bits)) for clip in stems)


@pytest.mark.parametrize("inputs", [{}, {"task": "loop", "bpm": 124, "duration": 4.0}])
def test_a_request_is_done_when_its_clips_are_taken_apart(inputs: dict[str, Any]) -> None:
    shares, before = [0.0], []

    def noted(audio: Audio) -> tuple[Audio, Audio]:
        before.append(shares[-2])  # the last one is that all of it is done
        return split(audio)

    asked = {"task": "text", "prompt": "a", "variations": 2, "return_stems": True} | inputs
    job = job_for(FakeMusicModel(house), None, noted, steady, **asked)
    clips = list(paths.generate(replace(job, report=shares.append)))
    assert len(clips) == 6 and shares == sorted(shares) and shares[-1] == 1
    assert 0 < before[0] < before[1] < 1


def test_stems_of_a_loop_are_loops() -> None:
    _, vocals, rest = loops(return_stems=True, bit_depth=32)
    assert jump_at_the_seam(vocals.samples) < 1 and jump_at_the_seam(rest.samples) < 1
    assert vocals.music == rest.music and vocals.music.beats == 16


def test_each_variation_has_its_stems_and_only_it_has_midi() -> None:
    clips = made(house, return_stems=True, return_midi=True, variations=2)
    assert [(clip.number, clip.part) for clip in clips] == [
        (number, part) for number in (1, 2) for part in ("", "vocals", "accompaniment")
    ]
    assert [clip.midi is not None for clip in clips] == [True, False, False] * 2


@pytest.mark.parametrize("rate", RATES)
def test_what_is_heard_meanwhile_has_rate_and_fades(rate: int) -> None:
    inputs: dict[str, Any] = {"sample_rate": rate, "fade_in": 1.0, "fade_out": 2.0, "normalization_strategy": "clip"}
    ear = Ear()
    job = job_for(FakeMusicModel(hum), task="text", prompt="a", duration=5.0, **inputs)
    [clip] = paths.generate(replace(job, listener=ear))
    assert ear.sound is not None and (ear.sound.sample_rate, ear.sound.samples) == (rate, 5 * rate)
    assert ear.heard.shape == clip.samples.shape == (1, 5 * rate)
    assert np.abs(ear.heard - clip.samples).max() < 1e-3
