"""Windows end where sections start; each section is told its own words and chords, and goes on from those before it."""

import io
from dataclasses import replace
from typing import Any

import mido
import numpy as np
import pytest

from musicgen_service import paths
from musicgen_service.analysis.chord_symbols import symbol
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.audio.reading import Audio
from musicgen_service.engine.interface import SlotRequest
from musicgen_service.paths import progressions, windows
from tests.paths.test_streaming import Ear
from tests.support.fake_music_model import HOP, RATE, FakeMusicModel, job_for
from tests.support.sounds import tone

FORM = "intro 2 s: piano; verse 5 s: drums / not: flute; outro 1.5 s: strings"


def model_of() -> FakeMusicModel:
    """A model with a window of 3 s, which repeats 1.2 s, or 0.8 s where a section starts."""
    return FakeMusicModel(lambda seed, length: tone(length, amplitude=0.1 + seed % 7 / 50)[0], window=150)


@pytest.fixture(autouse=True)
def short_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SECTION_CONTEXT", 0.8)


def windows_of(asked: list[list[SlotRequest]]) -> list[tuple[str | None, str | None, int, int]]:
    """Texts, frames repeated and frames in all of each window."""
    return [
        (
            request.condition.text,
            request.condition.negative_text,
            0 if request.prefix_tokens is None else request.prefix_tokens.shape[-1],
            request.length,
        )
        for [request] in asked
    ]


def test_windows_end_where_sections_start() -> None:
    model = model_of()
    job = job_for(model, task="text", prompt="lofi", negative_prompt="noise", sections=FORM, duration=8.5)
    [clip] = paths.generate(job)
    assert clip.samples.shape == (1, round(8.5 * RATE))
    assert windows_of(model.asked) == [
        ("lofi, piano", "noise", 0, 100),
        ("lofi, drums", "noise, flute", 40, 150),
        ("lofi, drums", "noise, flute", 60, 150),
        ("lofi, drums", "noise, flute", 60, 110),
        ("lofi, strings", "noise", 40, 115),
    ]
    assert all(request.is_part for [request] in model.asked)


def test_a_section_goes_on_from_all_of_a_short_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SECTION_CONTEXT", 3.0)
    model = model_of()
    list(paths.generate(job_for(model, task="text", sections="1 s: piano; 2 s: drums", duration=3.0)))
    assert windows_of(model.asked) == [("piano", None, 0, 50), ("drums", None, 50, 150)]


def chroma_of(asked: list[list[SlotRequest]]) -> list[list[str | None]]:
    """The chord in the middle of each second that a window is told of; None where it is told of none at all."""
    names: dict[tuple[int, ...], str] = {
        (0, 4, 9): "Am",
        (0, 5, 9): "F",
        (2, 7, 11): "G",
        (0, 4, 7): "C",
        (1, 4, 9): "A",
        (): "-",
    }
    told: list[list[str | None]] = []
    for [request] in asked:
        chroma, seconds = request.condition.chroma, request.length / 50
        middles = (
            [] if chroma is None else [chroma[:, int((second + 0.5) * 235 / 30)] for second in range(int(seconds))]
        )
        told.append([names[tuple(np.flatnonzero(middle))] for middle in middles] or [None])
    return told


PARTS = "2 s: piano / chords: Am F; 4 s: drums; 3 s: strings / chords: C"


@pytest.mark.parametrize(
    ("whole", "second", "chords"),
    [
        # Those of the whole piece begin with each section that has none of its own.
        ("F G", ["F", "F", "G", "F", "G"], "Am F F G F G C C C"),
        # Without any, a section may have what chords it likes; what it goes on from has none that are known.
        (None, [None], "Am F C C C"),
    ],
)
def test_each_section_has_its_own_chords_from_its_first_bar(
    monkeypatch: pytest.MonkeyPatch, whole: str | None, second: list[str | None], chords: str
) -> None:
    monkeypatch.setattr(windows, "SECTION_CONTEXT", 1.0)
    model = replace(model_of(), window=500)
    inputs: dict[str, Any] = {"text_chords": whole, "sections": PARTS, "bpm": 240.0, "duration": 9.0}
    [clip] = paths.generate(job_for(model, task="chords", **inputs))
    assert chroma_of(model.asked) == [["Am", "F"], second, [second[-1] or "-", "C", "C", "C"]]
    assert " ".join(symbol(chord.label) for chord in clip.chords) == chords
    assert [chord.start for chord in clip.chords if chord.label == "C:maj"] == [6, 7, 8]


def test_sections_without_chords_follow_those_of_a_recording() -> None:
    """Where they are in it, as if all sections did."""
    model = replace(model_of(), window=500)
    job = job_for(model, task="chords", sections=PARTS, bpm=240.0, duration=9.0)
    harmony = [ChordSegment(0.0, 3.0, "C:maj"), ChordSegment(3.0, 8.0, "G:maj")]
    whole = progressions.repeated(harmony, 8.0)
    asked = progressions.by_sections(job.request, whole)(0.0, 9.0)
    assert [(chord.start, symbol(chord.label)) for chord in asked] == [
        *((0, "Am"), (1, "F"), (2, "C"), (3, "G")),
        *((6, "C"), (7, "C"), (8, "C")),
    ]


def test_chords_of_sections_of_a_continuation_begin_where_its_audio_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "SECTION_CONTEXT", 1.0)
    model = replace(model_of(), window=500)
    inputs: dict[str, Any] = {
        "task": "continuation",
        "continuation": True,
        "sections": "2 s: / chords: G; 2 s: / chords: F",
    }
    [clip] = paths.generate(job_for(model, Audio(tone(2), RATE), **inputs, bpm=240.0, duration=6.0))
    assert [(chord.start, chord.label[0]) for chord in clip.chords] == [(2, "G"), (3, "G"), (4, "F"), (5, "F")]
    assert chroma_of(model.asked) == [["A", "A", "G", "G"], ["G", "F", "F"]]


def test_midi_has_the_sections_and_their_chords() -> None:
    inputs: dict[str, Any] = {"sections": "a 2 s: / chords: Am; b 2 s: / chords: F", "bpm": 120.0, "duration": 4.0}
    [clip] = paths.generate(job_for(model_of(), task="chords", **inputs, return_midi=True))
    assert clip.midi is not None
    track = mido.MidiFile(file=io.BytesIO(clip.midi)).tracks[0]
    assert [message.text for message in track if message.type == "marker"] == ["a", "Am", "b", "F"]


def test_a_melody_goes_on_through_the_sections() -> None:
    """Also where the clip fits one window: the second one does not start the melody again."""
    model = model_of()
    song = Audio(np.arange(3 * RATE, dtype=np.float32)[None] / (3 * RATE), RATE)
    inputs: dict[str, Any] = {"task": "melody", "sections": "2 s: piano; 1 s: drums", "duration": 3.0}
    list(paths.generate(job_for(model, song, **inputs)))
    first, second = (request.condition.melody for [request] in model.asked)
    assert first is not None and second is not None
    assert np.array_equal(first.numpy(), song.samples)
    assert second[0, 0] == song.samples[0, 60 * HOP]


def test_the_sections_of_a_continuation_begin_where_its_audio_ends() -> None:
    model = model_of()
    inputs: dict[str, Any] = {"task": "continuation", "continuation": True, "sections": "1 s: piano; 1 s: drums"}
    [clip] = paths.generate(job_for(model, Audio(tone(2), RATE), **inputs, duration=4.0))
    assert clip.samples.shape == (1, 4 * RATE)
    assert windows_of(model.asked) == [("piano", None, 100, 150), ("drums", None, 40, 90)]


def test_the_sections_after_a_long_recording() -> None:
    """Of a recording longer than a window only the end is told to the model."""
    model = model_of()
    inputs: dict[str, Any] = {"task": "continuation", "continuation": True, "sections": "1 s: piano; 1 s: drums"}
    [clip] = paths.generate(job_for(model, Audio(tone(10), RATE), **inputs, duration=12.0))
    assert clip.samples.shape == (1, 12 * RATE)
    assert windows_of(model.asked) == [("piano", None, 60, 110), ("drums", None, 40, 90)]


@pytest.mark.parametrize("task", ["text", "melody", "continuation"])
def test_sections_are_heard_while_they_are_made(task: str) -> None:
    ear = Ear()
    song = None if task == "text" else Audio(tone(1.5), RATE)
    inputs: dict[str, Any] = {"task": task, "sections": FORM, "duration": 8.5 + 1.5 * (task == "continuation")}
    job = job_for(model_of(), song, **inputs, variations=2, normalization_strategy="clip")
    clips = list(paths.generate(replace(job, listener=ear)))
    assert ear.has_ended and np.abs(ear.heard - clips[0].samples).max() < 1e-6
