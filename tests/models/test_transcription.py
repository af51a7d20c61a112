"""Notes heard by Basic Pitch with its own weights: melody and bass, at any rate, level and length, and cancelled."""

import threading
import tracemalloc

import numpy as np
import psutil
import pytest
import soxr
from mir_eval.transcription import precision_recall_f1_overlap
from mir_eval.util import midi_to_hz

from demo.synth import SAMPLE_RATE, Synthesiser
from demo.synth.timbres import add_note
from musicgen_service.analysis import note_tracking
from musicgen_service.analysis.envelopes import RATE
from musicgen_service.analysis.note_tracking import Candidates, NoteActivity
from musicgen_service.analysis.transcription import Note, Transcriber
from musicgen_service.models import packaged, transcription
from musicgen_service.models.basic_pitch import HOP, BasicPitch
from musicgen_service.models.catalogue import BASIC_PITCH
from tests.support.cancelling import Cancelled, cancelled_when
from tests.support.recordings import recording

TUNE = (60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60)


def nothing(_share: float) -> None:
    """Nobody asks how far it is."""


@pytest.fixture(scope="module")
def transcribe() -> Transcriber:
    assert packaged.has(BASIC_PITCH), "run make install"
    return transcription.choose()


@pytest.fixture(scope="module")
def network() -> BasicPitch:
    return BasicPitch(packaged.files(BASIC_PITCH)[0])


def tune(seconds: float = 0.4, start: float = 0.3) -> np.ndarray:
    """TUNE on a piano."""
    audio = np.zeros(round((start + seconds * (len(TUNE) + 1)) * SAMPLE_RATE), np.float32)
    for number, midi in enumerate(TUNE):
        begin = round((start + number * seconds) * SAMPLE_RATE)
        add_note(audio, "piano", midi, begin, round(seconds * SAMPLE_RATE), 0.3)
    return audio


def f_measure(found: list[Note], true: list) -> float:
    """Onsets within 50 ms and pitches within half a semitone."""
    arrays = []
    for notes in (true, found):
        arrays += [
            np.array([[note.start, note.end] for note in notes]),
            midi_to_hz(np.array([float(note.midi) for note in notes])),
        ]
    return precision_recall_f1_overlap(*arrays, onset_tolerance=0.05, offset_ratio=None)[2] if found else 0.0


def test_a_tune_is_heard_note_by_note(transcribe: Transcriber) -> None:
    found = transcribe(tune(), SAMPLE_RATE, nothing).melody
    assert tuple(note.midi for note in found) == TUNE
    for number, note in enumerate(found):
        assert note.start == pytest.approx(0.3 + 0.4 * number, abs=0.03) and 0.2 < note.end - note.start < 0.45


@pytest.mark.parametrize("gain", [1e-2, 3.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_level_and_channels_do_not_matter(transcribe: Transcriber, gain: float, channels: int) -> None:
    sound = np.stack([gain * tune()] * channels)
    assert tuple(note.midi for note in transcribe(sound, SAMPLE_RATE, nothing).melody) == TUNE


@pytest.mark.parametrize("seed", [900, 901, 905, 908])
def test_the_melody_of_a_song_is_heard_over_its_band(transcribe: Transcriber, seed: int) -> None:
    song = Synthesiser().song(seed, 12, lead=True)
    assert f_measure(transcribe(song.audio, SAMPLE_RATE, nothing).melody, song.melody) >= 0.75


def test_a_solo_trumpet_has_a_melody_and_no_more(transcribe: Transcriber) -> None:
    audio = recording("trumpet_90")
    found = transcribe(audio.mono, audio.rate, nothing)
    assert 10 <= len(found.melody) <= 20 and len(found.bass) <= 3


@pytest.mark.parametrize("samples", [0, 100, 3 * SAMPLE_RATE])
def test_silence_and_moments_have_no_notes(transcribe: Transcriber, samples: int) -> None:
    found = transcribe(np.zeros((2, samples), np.float32), SAMPLE_RATE, nothing)
    assert found.melody == found.bass == []


@pytest.mark.parametrize("off", [-0.4, 0.3, 0.5])
def test_music_off_concert_pitch_is_heard_in_it(transcribe: Transcriber, off: float) -> None:
    sound = soxr.resample(tune(), SAMPLE_RATE * 2 ** (off / 12), SAMPLE_RATE)
    found = transcribe(sound, SAMPLE_RATE, nothing).melody
    steps = [note.midi - midi for note, midi in zip(found, TUNE, strict=True)]
    assert set(steps) in ({0}, {1} if off == 0.5 else {0})
    assert found[-1].start == pytest.approx((0.3 + 0.4 * 10) / 2 ** (off / 12), abs=0.03)


def test_noise_and_clicks_have_hardly_a_note(transcribe: Transcriber) -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, 6 * SAMPLE_RATE).astype(np.float32)
    clicks = np.zeros(6 * SAMPLE_RATE, np.float32)
    clicks[:: SAMPLE_RATE // 2] = 1
    for sound in (noise, clicks):
        found = transcribe(sound, SAMPLE_RATE, nothing)
        assert len(found.melody) + len(found.bass) <= 4


def test_the_hiss_between_notes_is_no_music(transcribe: Transcriber) -> None:
    sound = np.concatenate([tune(), np.zeros(6 * SAMPLE_RATE, np.float32)])
    sound += np.random.default_rng(1).normal(0, 1e-4, len(sound)).astype(np.float32)
    found = transcribe(sound, SAMPLE_RATE, nothing)
    assert tuple(note.midi for note in found.melody) == TUNE and not found.bass


def test_where_windows_meet_nothing_changes(network: BasicPitch) -> None:
    """The same sound, some frames later, so that windows meet elsewhere in it."""
    sound = np.interp(np.arange(6 * RATE) / RATE, np.arange(len(tune())) / SAMPLE_RATE, tune()).astype(np.float32)
    plain = network.hear(sound, nothing)
    shift = 71
    later = network.hear(np.concatenate([np.zeros(shift * HOP, np.float32), sound]), nothing)
    difference = np.abs(later.sounding[shift:] - plain.sounding)[20:]
    assert np.quantile(difference, 0.999) < 0.15 and plain.sounding.max() > 0.7


@pytest.mark.parametrize("length", [1, HOP, HOP + 1, 142 * HOP, 142 * HOP + 1])
def test_activity_covers_recordings_of_any_length(network: BasicPitch, length: int) -> None:
    found = network.hear(np.ones(length, np.float32), nothing)
    frames = -(-length // HOP)
    assert found.onsets.shape == found.sounding.shape == (frames, 88) and found.levels.shape == (frames,)


def test_it_tells_how_far_it_is_and_stops_when_it_is_cancelled(network: BasicPitch) -> None:
    reached, told = threading.Event(), list[float]()

    def report(share: float) -> None:
        told.append(share)
        reached.set()

    sound = np.zeros(600 * RATE, np.float32)
    assert isinstance(cancelled_when(reached, lambda: network.hear(sound, report)), Cancelled)
    assert 0 < len(told) < 20 and told == sorted(told)


def test_a_recording_in_tune_is_copied_once(network: BasicPitch, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its copy is gone when notes are looked for in what the network heard."""
    sound, used = np.zeros(30 * RATE, np.float32), dict[str, int]()

    def listening(_share: float) -> None:
        used["while listening"] = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()

    look_for = note_tracking.candidates

    def candidates(activity: NoteActivity) -> Candidates:
        used["after listening"], used["in between"] = tracemalloc.get_traced_memory()
        used["activity"] = activity.onsets.nbytes + activity.sounding.nbytes
        return look_for(activity)

    monkeypatch.setattr(note_tracking, "candidates", candidates)
    tracemalloc.start()
    transcription.hear(network, sound, RATE, listening)
    tracemalloc.stop()
    assert max(used["while listening"], used["in between"]) < used["activity"] + 1.5 * sound.nbytes
    assert used["after listening"] < used["activity"] + 0.5 * sound.nbytes


@pytest.mark.slow
def test_ten_minutes_take_little_memory(transcribe: Transcriber) -> None:
    song = np.tile(tune(), 125)[: 600 * SAMPLE_RATE]
    process, used = psutil.Process(), list[int]()
    found = transcribe(song, SAMPLE_RATE, lambda _share: used.append(process.memory_info().rss))
    assert len(found.melody) == pytest.approx(len(TUNE) * 125, rel=0.1)
    assert max(used) - used[0] < 100e6
