"""Rules between chords and the other inputs of a request."""

from typing import Any

import pytest

from musicgen_service.audio.reading import AudioInput
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.notes import collected
from tests.support.requests import problems, resolve


def test_chords_alone_are_a_task_with_a_model_that_takes_them() -> None:
    request = resolve(text_chords="Am F C G", bpm=120)
    assert (request.task, request.model_version, request.description) == ("chords", "stereo-melody", "120 bpm")
    assert request.progression is not None and str(request.progression) == "Am | F | C | G"


def test_chords_of_a_recording_are_the_same_task(song: AudioInput) -> None:
    assert resolve(prompt="jazz", audio_chords=song).task == "chords"


@pytest.mark.parametrize("name", ["text_chords", "time_signature"])
def test_blank_texts_are_none(name: str) -> None:
    request = resolve(prompt="jazz", **{name: " \n"})
    assert getattr(request, name) is None and request.task == "text"


def test_chords_go_with_a_continuation_and_a_loop(song: AudioInput) -> None:
    for inputs in ({"continuation": True, "input_audio": song}, {"task": "loop"}):
        request = resolve(text_chords="C", bpm=120, **inputs)
        assert request.model_version == "stereo-melody"


@pytest.mark.parametrize("task", ["text", "melody", "remix", "encode-decode"])
def test_other_tasks_take_no_chords(task: str, song: AudioInput) -> None:
    inputs: dict[str, Any] = {} if task == "text" else {"input_audio": song}
    assert problems(task=task, prompt="jazz", text_chords="C", bpm=120, **inputs) == [
        f"text_chords is for the tasks 'chords', 'continuation', 'loop', and task is '{task}': leave it out."
    ]


def test_chords_come_from_one_source(song: AudioInput) -> None:
    assert problems(text_chords="C", bpm=120, audio_chords=song) == [
        "text_chords and audio_chords each say which chords to play: leave one of them out."
    ]


def test_the_task_needs_chords() -> None:
    assert problems(task="chords", prompt="jazz") == [
        "Task 'chords' needs text_chords, audio_chords or sections with '/ chords:'."
    ]


SECTIONS = "verse 4 bars: drums / chords: Am F; break 2 bars: piano"


def test_sections_with_chords_are_the_same_task(song: AudioInput) -> None:
    request = resolve(sections=SECTIONS, bpm=120)
    assert (request.task, request.model_version, request.duration) == ("chords", "stereo-melody", 12)
    assert [part.chords and str(part.chords) for part in request.parts] == ["Am | F", None]
    again = resolve(**request.as_inputs())
    assert again.parts == request.parts and again.task == "chords"
    assert resolve(sections=SECTIONS, bpm=120, continuation=True, input_audio=song).model_version == "stereo-melody"


@pytest.mark.parametrize("task", ["text", "melody"])
def test_sections_have_no_chords_in_other_tasks(task: str, song: AudioInput) -> None:
    inputs: dict[str, Any] = {} if task == "text" else {"input_audio": song}
    assert problems(task=task, sections=SECTIONS, bpm=120, **inputs) == [
        f"'/ chords:' in sections is for the tasks 'chords', 'continuation', and task is '{task}': leave it out."
    ]


def test_chords_of_a_section_need_a_model_that_takes_them() -> None:
    [sentence] = problems(sections=SECTIONS, bpm=120, model_version="small")
    assert sentence.startswith("Model 'small' takes no chords: use one of ")


def test_chords_of_the_whole_piece_go_with_those_of_a_section(song: AudioInput) -> None:
    assert resolve(sections=SECTIONS, bpm=120, text_chords="C G").task == "chords"
    assert resolve(sections=SECTIONS, bpm=120, audio_chords=song).task == "chords"
    # The tempo of text_chords, the middle of the prompt's, is that of the sections, too.
    assert resolve(sections=SECTIONS, prompt="jazz, 110-130 bpm", text_chords="C G").duration == 12


def test_the_coefficient_is_that_of_chords_of_sections_too() -> None:
    with collected() as sentences:
        resolve(sections=SECTIONS, bpm=120, chroma_coefficient=2)
    assert not sentences


@pytest.mark.parametrize(
    ("texts", "key"),
    [
        ({"text_chords": "i V in A minor"}, "A minor"),
        ({"sections": "a 4 s: / chords: i V in A minor; b 4 s: / chords: Am"}, "A minor"),
        ({"sections": "a 4 s: / chords: i V in A minor; b 4 s: / chords: I V in C major"}, None),
        ({"text_chords": "Am"}, None),
    ],
)
def test_the_key_that_chords_name(texts: dict[str, str], key: str | None) -> None:
    assert resolve(bpm=120, **texts).named_key == key


def test_an_unreadable_chord_is_named_with_its_bar() -> None:
    [sentence] = problems(text_chords="Am F Q", bpm=120)
    assert sentence.startswith("text_chords: bar 3 has 'Q', which is no chord known here: ")


def test_bars_need_a_tempo(song: AudioInput) -> None:
    expected = "text_chords need bpm, from 40 to 300, or a prompt that names a tempo, such as '120 bpm'."
    assert problems(text_chords="C", prompt="jazz") == [expected]
    assert problems(text_chords="C", continuation=True, input_audio=song) == [expected]
    assert resolve(text_chords="C", prompt="jazz, 90 bpm").bpm == 90
    assert resolve(text_chords="C", prompt="jazz, 90-100 bpm").bpm == 95
    assert problems(text_chords="C", prompt="jazz, 90 or 120 bpm") == [
        "The prompt says 90 bpm and 120 bpm, and a progression has one tempo: say which with bpm."
    ]


def test_a_text_model_takes_no_chords() -> None:
    able = ", ".join(name for name, checkpoint in CHECKPOINTS.items() if checkpoint.takes_melody)
    [sentence] = problems(text_chords="C", bpm=120, model_version="small")
    assert sentence == f"Model 'small' takes no chords: use one of {able}."


def test_a_part_of_the_recording_can_be_used(song: AudioInput) -> None:
    assert resolve(audio_chords=song, continuation_start=1, continuation_end=2).continuation_start == 1
    assert problems(audio_chords=song, continuation_start=3) == [
        "continuation_start (3 s) is beyond the end of audio_chords (3 s)."
    ]
    with collected() as sentences:
        resolve(text_chords="C", bpm=120, continuation_start=1)
    assert sentences == ["continuation_start has no effect without audio_chords."]


def test_text_of_chords_is_unicode() -> None:
    assert "half characters" in problems(text_chords="C\ud800", bpm=120)[0]
