"""Notes on inputs without effect."""

from typing import Any

import pytest

from musicgen_service import notes
from musicgen_service.audio.reading import AudioInput
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.tasks import TASKS
from tests.support.sounds import recording


@pytest.fixture
def song() -> AudioInput:
    return recording(3, 8000)


def notes_of(**inputs: Any) -> list[str]:
    with notes.collected() as sentences:
        GenerationRequest.from_inputs(inputs, ["small", "stereo-melody"])
    return sentences


OTHER = {
    "prompt": "rock",
    "negative_prompt": "piano",
    "adapter": "mystyle",
    "normalization_strategy": "peak",
    "duration": 9,
    "continuation_start": 1,
    "continuation_end": 2,
    "top_k": 100,
    "top_p": 0.5,
    "temperature": 0.5,
    "classifier_free_guidance": 4,
    "bpm": 100,
    "time_signature": "3/4",
    "beat_sync_threshold": 0.5,
    "chroma_coefficient": 1.5,
    "repeat": 2,
    "trim_to_bars": True,
}
"""Values that differ from the defaults."""


def of_task(task: str, song: AudioInput) -> dict[str, Any]:
    """A minimal valid request for a task."""
    match task:
        case "text":
            return {"task": task, "prompt": "jazz"}
        case "loop":
            return {"task": task, "bpm": 120}
        case "repaint":
            return {"task": task, "input_audio": song, "continuation_start": 0.5, "continuation_end": 2.5}
        case "chords":
            return {"task": task, "audio_chords": song}
        case _:
            return {"task": task, "input_audio": song}


@pytest.mark.parametrize("task", TASKS)
def test_input_unused_by_a_task_is_noted(task: str, song: AudioInput) -> None:
    assert notes_of(**of_task(task, song)) == []
    assert set(TASKS[task].unused) <= set(OTHER)
    for name, value in OTHER.items():
        sentences = notes_of(**{**of_task(task, song), name: value})
        expected = [f"{name} has no effect on task '{task}'."] if name in TASKS[task].unused else []
        if (task, name) == ("continuation", "classifier_free_guidance"):
            expected = ["classifier_free_guidance has no effect without a prompt."]
        if name == "time_signature" and not expected:
            expected = ["time_signature has no effect without text_chords or sections."]
        if name == "chroma_coefficient" and task in ("continuation", "loop"):
            expected = ["chroma_coefficient has no effect without text_chords, audio_chords or chords of sections."]
        assert sentences == expected


@pytest.mark.parametrize(
    ("inputs", "sentences"),
    [
        ({"top_p": 0.9, "top_k": 100}, ["top_k has no effect where top_p is given."]),
        ({"bit_depth": 24, "output_format": "mp3"}, ["bit_depth has no effect on mp3 files."]),
        ({"temperature": 0, "top_k": 9}, ["temperature 0 always takes the likeliest token, so top_k has no effect."]),
        (
            {"temperature": 0, "variations": 2},
            ["temperature 0 always takes the likeliest token, so the variations are all alike."],
        ),
        (
            {"classifier_free_guidance": 1, "negative_prompt": "piano"},
            ["negative_prompt has no effect where classifier_free_guidance is 1."],
        ),
        ({"classifier_free_guidance": 0}, ["prompt has no effect where classifier_free_guidance is 0."]),
        ({"top_k": 250, "duration": 8.0, "temperature": 1}, []),
    ],
)
def test_inputs_overridden_by_others_are_noted(inputs: dict[str, Any], sentences: list[str]) -> None:
    assert notes_of(prompt="jazz", **inputs) == sentences


def test_identical_variations_are_noted(song: AudioInput) -> None:
    inputs = {"task": "encode-decode", "input_audio": song, "variations": 2}
    assert notes_of(**inputs) == ["variations of task 'encode-decode' are all alike without multi_band_diffusion."]
    assert notes_of(**inputs, multi_band_diffusion=True) == []


def test_sections_count_as_words(song: AudioInput) -> None:
    guided = {"task": "continuation", "input_audio": song, "sections": "4 s: drums", "classifier_free_guidance": 4}
    assert notes_of(**guided) == []
    assert notes_of(sections="4 s: drums", classifier_free_guidance=0) == [
        "sections has no effect where classifier_free_guidance is 0."
    ]


def test_guidance_has_an_effect_on_a_continuation_with_a_negative_prompt_alone(song: AudioInput) -> None:
    inputs = {"task": "continuation", "input_audio": song, "classifier_free_guidance": 5}
    assert notes_of(**inputs, negative_prompt="piano") == []
