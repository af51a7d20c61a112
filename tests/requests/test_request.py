"""Complete requests: defaults and choices for open inputs."""

from typing import Any

import pytest

from musicgen_service import notes
from musicgen_service.audio.reading import AudioInput
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.seeds import MAX_SEED
from tests.support.requests import problems, resolve


def test_a_prompt_alone_is_enough() -> None:
    request = resolve(prompt="jazz")
    assert (request.task, request.model_version, request.duration) == ("text", "stereo-melody", 8.0)
    assert 1 <= request.seed <= MAX_SEED


def test_missing_and_null_inputs_take_their_defaults() -> None:
    assert resolve(prompt="jazz", seed=1) == resolve(**{name: None for name in FIELDS} | {"prompt": "jazz", "seed": 1})


@pytest.mark.parametrize("seed", [None, 0, -1])
def test_open_seed_is_random(seed: int | None) -> None:
    assert resolve(prompt="jazz", seed=seed).seed != resolve(prompt="jazz", seed=seed).seed


def test_a_request_of_musicgen_custom_is_accepted_unchanged(song: AudioInput) -> None:
    request = resolve(
        model_version="stereo-melody",
        prompt="jazz",
        input_audio=song,
        duration=8,
        continuation=False,
        continuation_start=0,
        multi_band_diffusion=False,
        normalization_strategy="loudness",
        top_k=250,
        top_p=0,
        temperature=1,
        classifier_free_guidance=3,
        output_format="mp3",
        seed=7,
    )
    assert (request.task, request.variations) == ("melody", 1)


def test_as_inputs_contains_the_decoded_audio(song: AudioInput) -> None:
    assert resolve(input_audio=song).as_inputs()["input_audio"] is song


def test_prompt_must_be_valid_unicode() -> None:
    assert problems(prompt="jazz \ud83c", negative_prompt="\udf00") == [
        f"The {name} holds half characters (unpaired surrogates): send valid Unicode text."
        for name in ("prompt", "negative_prompt")
    ]


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        prompt="jazz 120 bpm", bpm=90, top_k=-1, model_version="large", output_format="aiff", continuation=True
    )
    assert len(found) == 5
    with pytest.raises(RequestError, match=r"^2 problems: \(1\) duration .* \(2\) Give a prompt"):
        resolve(duration=0)


@pytest.mark.parametrize("temperature", [1e-6, 1e-39, 5e-324])
def test_negligible_temperature_becomes_0(temperature: float) -> None:
    with notes.collected() as sentences:
        assert resolve(prompt="jazz", temperature=temperature).temperature == 0
    assert sentences == [f"temperature {temperature:g} is as good as 0: it always takes the likeliest token."]
    assert resolve(prompt="jazz", temperature=0.01).temperature == 0.01


@pytest.mark.parametrize(
    ("inputs", "tempo"),
    [
        ({"prompt": "techno"}, None),
        ({"prompt": "techno", "bpm": 120}, 120),
        ({"prompt": "techno, 98 bpm"}, 98),
        ({"prompt": "techno, 120-130 bpm"}, None),
        ({"prompt": "techno, 120-130 bpm", "bpm": 124}, 124),
        ({"bpm": 90, "task": "loop"}, 90),
    ],
)
def test_the_tempo_asked_for_is_bpm_or_the_only_one_of_the_prompt(inputs: dict[str, Any], tempo: float | None) -> None:
    assert resolve(**inputs).requested_tempo == tempo


@pytest.mark.parametrize(
    ("inputs", "seconds"),
    [
        ({}, 8),
        ({"duration": 60, "variations": 3}, 180),
        ({"input_audio": "song", "task": "remix", "duration": 600}, 3),  # goes by the song
        (
            {"input_audio": "song", "task": "remix", "continuation_start": 1, "continuation_end": 2.5, "variations": 4},
            6,
        ),
        ({"input_audio": "song", "task": "encode-decode", "continuation_end": 900}, 3),
        ({"input_audio": "song", "task": "melody", "duration": 20}, 20),
    ],
)
def test_the_audio_that_is_asked_for_is_counted(inputs: dict[str, Any], seconds: float, song: AudioInput) -> None:
    if "input_audio" in inputs:
        inputs = inputs | {"input_audio": song}
    assert resolve(prompt="jazz", **inputs).audio_seconds == pytest.approx(seconds)
