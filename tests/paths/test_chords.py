"""Clips on chords: what the model is told, frame by frame, and what their MIDI files say."""

import io
from typing import Any

import mido
import numpy as np
import pytest

from demo.synth import Synthesiser
from musicgen_service import paths
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chord_labels import pitch_classes
from musicgen_service.audio.reading import Audio
from musicgen_service.models.music_model import MelodySpan
from musicgen_service.notes import collected
from musicgen_service.paths import chords, continuation, loop, windows
from musicgen_service.paths.job import Clip
from tests.support.fake_music_model import HOP, RATE, FakeMusicModel, job_for
from tests.support.sounds import tone

SPAN = MelodySpan(235, 30.0)
FRAME = SPAN.seconds / SPAN.frames


def model_of(**choices: Any) -> FakeMusicModel:
    return FakeMusicModel(lambda _seed, length: tone(length)[0], **choices)


def told(model: FakeMusicModel, window: int = 0) -> np.ndarray:
    """The chroma [12, frames] of a window."""
    chroma = model.asked[window][0].condition.chroma
    assert chroma is not None and chroma.shape == (12, SPAN.frames)
    return chroma.numpy()


def at(chroma: np.ndarray, seconds: float) -> list[int]:
    """The pitch classes at a time of a window."""
    return np.flatnonzero(chroma[:, int(seconds / FRAME)]).tolist()


def notes_of(label: str) -> list[int]:
    return np.flatnonzero(pitch_classes(label)).tolist()


def test_each_bar_has_its_chord_and_the_progression_repeats() -> None:
    model = model_of()
    list(chords.generate(job_for(model, task="chords", text_chords="Am F,G:7 N.C.", bpm=120.0)))
    expected = ["A:min", "A:min", "F:maj", "G:7", "N", "N"] * 5
    assert [at(told(model), second + 0.5) for second in range(30)] == [notes_of(label) for label in expected]


@pytest.mark.parametrize(("signature", "seconds"), [(None, 2.0), ("3/4", 1.5), ("6/8", 1.0), ("7/8", 3.5)])
def test_bars_have_the_length_of_their_time_signature(signature: str | None, seconds: float) -> None:
    model = model_of()
    list(chords.generate(job_for(model, task="chords", text_chords="C F#", bpm=120.0, time_signature=signature)))
    changes = np.flatnonzero(np.diff(told(model)[0]))
    assert np.abs(np.diff(changes) * FRAME - seconds).max() <= FRAME + 1e-9


def test_bars_do_not_drift_in_ten_minutes() -> None:
    """At 97.3 bpm in 7/8, with bars of several chords, and windows that begin anywhere in a bar."""
    model, bar = model_of(), 7 * 60 / 97.3
    asked: dict[str, Any] = {
        "text_chords": "C F,Bb Eb*3,Ab*2,C#*2",
        "bpm": 97.3,
        "time_signature": "7/8",
        "duration": 600.0,
    }
    plan = chords.plan(job_for(model, task="chords", **asked))
    starts = [0, 1, 3 / 2, 2, 2 + 3 / 7, 2 + 5 / 7]
    borders = np.array([number + start for number in range(0, 150, 3) for start in starts]) * bar
    for frame in range(0, plan.frames, model.window - windows.context_frames(model)):
        chroma = plan.condition_at(frame).chroma
        assert chroma is not None
        changes = frame / model.frame_rate + (1 + np.flatnonzero(np.diff(chroma.numpy()).any(axis=0))) * FRAME
        inside = borders[
            (borders > frame / model.frame_rate + FRAME) & (borders < frame / model.frame_rate + 30 - FRAME)
        ]
        assert np.abs(inside[:, None] - changes).min(axis=1).max() <= FRAME
        assert len(changes) - len(inside) in (0, 1, 2)  # one at each end of the window
    assert plan.chords[-1].end == pytest.approx(600) and len(plan.chords) == 46 * 6 + 1


def test_windows_go_on_with_the_progression() -> None:
    model = model_of()
    list(chords.generate(job_for(model, task="chords", text_chords="Am F C G", bpm=120.0, duration=50.0)))
    assert len(model.asked) == 3 and [at(told(model, window), 0.5) for window in range(3)] == [
        notes_of(label)
        for label in ("A:min", "F:maj", "C:maj")  # 0, 18 and 20 s after the beginning
    ]


def test_coefficient_scales_the_chords() -> None:
    model = model_of()
    list(chords.generate(job_for(model, task="chords", text_chords="C", bpm=120.0, chroma_coefficient=2.5)))
    assert set(np.unique(told(model))) == {0, 2.5}


def test_chords_of_a_recording_are_played_with_its_tempo() -> None:
    song = Synthesiser().song(77, 12.0, bpm=100, beats_per_bar=4, drums=True)
    model, grid = model_of(), BeatGrid(song.bpm, song.beats, song.downbeats, 4, 1.0)
    job = job_for(model, track=lambda *_: grid, task="chords", prompt="rock", duration=30.0)
    list(chords.generate(job.__class__(**vars(job) | {"chords_audio": Audio(song.audio[None], RATE)})))
    right = [
        at(told(model), (number * 12) + (chord.start + chord.end) / 2) == notes_of(chord.label)
        for number in range(2)
        for chord in song.chords
        if chord.label.endswith((":maj", ":min"))
    ]
    assert np.mean(right) > 0.8
    assert model.asked[0][0].condition.text == "rock, 100 bpm"


def test_a_recording_without_chords_is_noted() -> None:
    noise = np.random.default_rng(1).normal(0, 0.2, (1, 4 * RATE)).astype(np.float32)
    job = job_for(model_of(), task="chords", prompt="rock")
    with collected() as sentences:
        list(chords.generate(job.__class__(**vars(job) | {"chords_audio": Audio(noise, RATE)})))
    assert sentences == ["No chords were found in audio_chords."]


def test_a_continuation_plays_them_after_what_it_goes_on_from() -> None:
    model = model_of()
    given = Audio(tone(5.0), RATE)  # of A major
    asked: dict[str, Any] = {"text_chords": "C F", "bpm": 120.0, "duration": 15.0}
    job = job_for(model, given, task="continuation", continuation=True, **asked)
    list(continuation.generate(job))
    labels = ["A:maj"] * 5 + ["C:maj"] * 2 + ["F:maj"] * 2 + ["C:maj"] * 2
    assert [at(told(model), second + 0.5) for second in range(11)] == [notes_of(label) for label in labels]
    assert continuation.plan(job).chords[0] == (5.0, 7.0, "C:maj")


def test_a_long_continuation_knows_where_its_last_window_begins() -> None:
    model = model_of()
    asked: dict[str, Any] = {"text_chords": "C", "bpm": 120.0, "duration": 45.0}
    list(continuation.generate(job_for(model, Audio(tone(40.0), RATE), task="continuation", **asked)))
    context = model.asked[0][0].prefix_tokens
    assert context is not None and context.shape[-1] == 600
    assert at(told(model), 11.5) == notes_of("A:maj") and at(told(model), 12.5) == notes_of("C:maj")


def track(samples: np.ndarray, _rate: int, _tempo: float | None) -> BeatGrid:
    """Beats whose bars are not those of the chords."""
    beats = np.arange(0.0, samples.shape[-1] / RATE, 0.5)
    return BeatGrid(120, beats, beats[1::4], 4, 1.0)


def markers(clip: Clip) -> list[tuple[float, str]]:
    """The times and texts of the markers in a clip's MIDI file."""
    assert clip.midi is not None
    found, now = [], 0.0
    for message in mido.MidiFile(file=io.BytesIO(clip.midi)):
        now += message.time
        if message.type == "marker":
            found.append((round(now, 2), message.text))
    return found


def loops(model: FakeMusicModel, **inputs: Any) -> Any:
    return list(loop.generate(job_for(model, track=track, task="loop", bpm=120.0, **inputs)))


@pytest.mark.parametrize(
    ("text", "duration", "beats", "signature"),
    [("Am F C G", 8.0, 16, None), ("Am F C", 8.0, 12, None), ("Am F", 17.0, 32, None), ("Am F", 8.0, 14, "7/8")],
)
def test_a_loop_begins_with_the_first_bar_and_has_all_of_them(
    text: str, duration: float, beats: int, signature: str | None
) -> None:
    model = model_of()
    with collected() as sentences:
        clips = loops(model, text_chords=text, duration=duration, variations=2, time_signature=signature)
    assert not sentences
    assert [clip.samples.shape[1] for clip in clips] == [beats * RATE // 2] * 2
    assert clips[0].chords[0].label == "A:min" and clips[0].chords[-1].end == beats / 2
    first, variation = told(model), told(model, 1)
    assert at(first, 0.5) == notes_of("A:min")
    # After the loop's last four beats, a variation plays its chords from the beginning.
    assert [at(variation, second) for second in (1.5, 2.5)] == [notes_of(clips[0].chords[-1].label), notes_of("A:min")]


def test_a_loop_that_ends_before_its_chords_is_noted() -> None:
    with collected() as sentences:
        clips = loops(model_of(), text_chords="Am F C G Am F", duration=8.0)
    assert sentences == ["The 6 bars of text_chords last 12 s, so the loop of at most 8 s ends before them."]
    assert clips[0].samples.shape[1] == 8 * RATE and [chord.label for chord in clips[0].chords][-1] == "G:maj"


def test_midi_has_the_chords_that_were_asked_for_and_those_heard() -> None:
    job = job_for(model_of(), task="chords", text_chords="C F/A", bpm=120.0, duration=4.0, return_midi=True)
    [clip] = paths.generate(job)
    assert clip.midi is not None
    file = mido.MidiFile(file=io.BytesIO(clip.midi))
    tracks = {track.name: track for track in file.tracks}
    assert [message.text for message in file.tracks[0] if message.type == "marker"] == ["C", "F/A"]
    assert {message.text for message in tracks["Chords"] if message.type == "text"} == {"A"}
    played = [message.note for message in tracks["Chords asked for"] if message.type == "note_on"]
    assert sorted(played) == [45, 48, 52, 53, 55, 57, 60]


def test_midi_of_a_loop_that_is_repeated_repeats_its_chords() -> None:
    asked: dict[str, Any] = {"text_chords": "Am F", "bpm": 120.0, "duration": 4.0, "repeat": 2, "return_midi": True}
    [clip] = paths.generate(job_for(model_of(), track=track, task="loop", **asked))
    assert markers(clip) == [(0.0, "Am"), (2.0, "F"), (4.0, "Am"), (6.0, "F")]


def test_midi_of_a_clip_that_is_trimmed_has_the_chords_of_what_is_left() -> None:
    asked: dict[str, Any] = {"text_chords": "Am F", "bpm": 120.0, "trim_to_bars": True, "return_midi": True}
    [clip] = paths.generate(job_for(model_of(), track=track, task="chords", duration=5.0, **asked))
    # The first downbeat that is heard is half a second after the beginning, the last one two bars later.
    assert clip.samples.shape[1] == 4 * RATE
    assert markers(clip) == [(0.0, "Am"), (1.5, "F"), (3.5, "Am")]


def test_a_plan_is_as_long_as_asked() -> None:
    plan = chords.plan(job_for(model_of(), task="chords", text_chords="C", bpm=120.0, duration=3.01))
    assert plan.frames * HOP >= 3.01 * RATE > (plan.frames - 1) * HOP


def test_unclear_beats_of_a_recording_give_no_tempo_and_a_note() -> None:
    song = Synthesiser().song(77, 12.0, bpm=100, beats_per_bar=4, drums=True)
    model, grid = model_of(), BeatGrid(song.bpm, song.beats, song.downbeats, 4, 0.1)
    job = job_for(model, track=lambda *_: grid, task="chords", prompt="rock")
    with collected() as sentences:
        list(chords.generate(job.__class__(**vars(job) | {"chords_audio": Audio(song.audio[None], RATE)})))
    assert model.asked[0][0].condition.text == "rock"
    assert sentences == ["The beats of audio_chords are unclear (confidence 0.10), so its tempo is not used."]
