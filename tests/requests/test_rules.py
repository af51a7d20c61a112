"""Rules between inputs, and their error messages."""

from typing import Any

import pytest

from musicgen_service.audio.reading import AudioInput
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest
from tests.support.requests import problems, resolve
from tests.support.sounds import recording


@pytest.mark.parametrize("prompt", [None, "", "  \n"])
def test_request_needs_a_prompt_or_audio(prompt: str | None) -> None:
    assert problems(prompt=prompt) == ["Give a prompt, input_audio, or both."]


@pytest.mark.parametrize("task", ["melody", "continuation", "repaint", "encode-decode"])
def test_tasks_on_audio_need_audio(task: str) -> None:
    assert problems(prompt="jazz", task=task) == [f"Task '{task}' needs input_audio."]


def test_continuation_needs_audio() -> None:
    assert problems(prompt="jazz", continuation=True) == ["Task 'continuation' needs input_audio."]


def test_text_takes_no_audio(song: AudioInput) -> None:
    assert problems(prompt="jazz", task="text", input_audio=song)[0].startswith("Task 'text' takes no input_audio")


def test_continuation_contradicts_other_tasks(song: AudioInput) -> None:
    assert problems(task="melody", continuation=True, input_audio=song) == [
        "continuation is true but task is 'melody': leave one of them out."
    ]


def test_a_loop_takes_no_audio(song: AudioInput) -> None:
    assert problems(task="loop", bpm=120, input_audio=song)[0].startswith("Task 'loop' takes no input_audio")


def test_any_model_can_make_a_loop() -> None:
    assert resolve(task="loop", bpm=120, model_version="small").model_version == "small"


def test_a_remix_needs_a_song_and_a_melody_model(song: AudioInput) -> None:
    assert problems(task="remix", prompt="jazz") == ["Task 'remix' needs input_audio."]
    assert resolve(task="remix", input_audio=song).model_version == "stereo-melody"
    [sentence] = problems(task="remix", input_audio=song, model_version="small")
    assert sentence.startswith("Model 'small' takes no melody: use one of melody, ") and sentence.endswith("demo.")
    with pytest.raises(RequestError, match=r"for task 'remix' .* weights fetch melody"):
        GenerationRequest.from_inputs({"task": "remix", "input_audio": song}, ["small"])


def test_remix_input_is_at_most_ten_minutes() -> None:
    song = recording(601, 8000)
    assert problems(task="remix", input_audio=song) == [
        "The song to remix is 601 s long; at most 600 s are allowed: "
        "choose a part with continuation_start and continuation_end."
    ]
    assert resolve(task="remix", input_audio=song, continuation_start=1).continuation_start == 1


def test_a_repainted_part_leaves_something_of_the_recording(song: AudioInput) -> None:
    whole = (
        "Task 'repaint' makes a part of input_audio anew and keeps the rest: "
        "say which part with continuation_start and continuation_end."
    )
    for part in ({}, {"continuation_end": 3}, {"continuation_end": 30}, {"continuation_end": -1}):
        assert problems(task="repaint", input_audio=song, **part) == [whole]
    for start, end in ((0, 2), (1, None), (1, 2)):
        request = resolve(task="repaint", input_audio=song, continuation_start=start, continuation_end=end)
        assert request.audio_seconds == (end or 3) - start


@pytest.mark.parametrize(("seconds", "region"), [(3, 0.4), (700, 601)])
def test_a_repainted_part_has_half_a_second_to_ten_minutes(seconds: float, region: float) -> None:
    inputs = {"input_audio": recording(seconds, 8000), "continuation_start": 1, "continuation_end": 1 + region}
    assert problems(task="repaint", **inputs) == [
        f"The part to repaint is {region:g} s long; it may have 0.5 to 600 s."
    ]


def test_a_repainted_recording_keeps_its_rate() -> None:
    inputs = {"task": "repaint", "input_audio": recording(3, 96_000), "continuation_start": 1}
    assert problems(**inputs, output_format="mp3") == [
        "An mp3 cannot have the 96,000 samples per second of input_audio: "
        "choose another output_format, or a sample_rate."
    ]
    assert resolve(**inputs, output_format="mp3", sample_rate=48_000)
    assert resolve(**inputs, output_format="flac")


def test_whatever_makes_music_returns_stems(song: AudioInput) -> None:
    assert resolve(task="remix", input_audio=song, return_stems=True).return_stems
    assert resolve(prompt="jazz", return_stems=True).return_stems
    assert problems(task="encode-decode", input_audio=song, return_stems=True) == [
        "return_stems is for music that is made, and task 'encode-decode' makes none: leave it out."
    ]


def test_a_repeated_loop_has_ten_minutes_at_most() -> None:
    assert resolve(task="loop", bpm=120, duration=20, repeat=30).repeat == 30
    assert problems(task="loop", bpm=120, duration=20, repeat=31) == [
        "repeat and duration ask for up to 620 s; at most 600 s are allowed."
    ]


def test_fades_fit_into_the_clip(song: AudioInput) -> None:
    assert resolve(prompt="jazz", duration=4, fade_in=1, fade_out=3).fade_out == 3
    assert resolve(task="loop", bpm=120, duration=4, repeat=2, fade_out=8).fade_out == 8
    assert problems(prompt="jazz", duration=4, fade_in=2, fade_out=3) == [
        "fade_in (2 s) and fade_out (3 s) are longer together than the clip, 4 s: shorten them."
    ]
    # How long a remix is may depend on the part of its song.
    assert resolve(task="remix", input_audio=song, duration=1, fade_out=30).fade_out == 30


def test_flac_has_no_floating_point() -> None:
    assert resolve(prompt="jazz", bit_depth=32).bit_depth == 32
    assert resolve(prompt="jazz", bit_depth=24.0, output_format="flac").bit_depth == 24
    assert problems(prompt="jazz", bit_depth=32, output_format="flac") == [
        "flac has 16 or 24 bits, and bit_depth is 32: use wav, or fewer."
    ]


@pytest.mark.parametrize("rate", [22_050, True, "44100", 44_100.5, float("nan"), [48_000]])
def test_sample_rates_are_those_of_daws(rate: Any) -> None:
    assert resolve(prompt="jazz", sample_rate=48_000).sample_rate == 48_000
    [sentence] = problems(prompt="jazz", sample_rate=rate)
    assert sentence.startswith("sample_rate must be one of 32000, 44100, 48000, not ")


def test_a_text_model_takes_no_melody(song: AudioInput) -> None:
    [sentence] = problems(model_version="small", input_audio=song)
    assert sentence.startswith("Model 'small' takes no melody: use one of melody, ")


def test_missing_model_is_reported_with_its_fetch_command() -> None:
    [sentence] = problems(prompt="jazz", model_version="large")
    assert sentence.endswith("run `python -m musicgen_service weights fetch large`.")


def test_lack_of_any_model_is_reported() -> None:
    with pytest.raises(RequestError, match="weights fetch small"):
        GenerationRequest.from_inputs({"prompt": "jazz"}, [])


def test_diffusion_needs_the_released_codec() -> None:
    assert "released codec only" in problems(prompt="jazz", model_version="demo", multi_band_diffusion=True)[0]
    assert resolve(prompt="jazz", model_version="stereo-melody", multi_band_diffusion=True).multi_band_diffusion


def test_start_comes_before_end(song: AudioInput) -> None:
    for start, end in ((2, 1), (1, 1)):
        [sentence] = problems(input_audio=song, continuation=True, continuation_start=start, continuation_end=end)
        assert sentence == f"continuation_start ({start} s) must be before continuation_end ({end} s)."


def test_start_lies_within_the_file(song: AudioInput) -> None:
    [sentence] = problems(input_audio=song, continuation=True, continuation_start=3)
    assert sentence == "continuation_start (3 s) is beyond the end of input_audio (3 s)."


def test_an_end_beyond_the_file_is_the_end_of_the_file(song: AudioInput) -> None:
    assert resolve(input_audio=song, continuation=True, continuation_end=30).continuation_end == 30


@pytest.mark.parametrize("end", [None, -1])
def test_an_open_end_is_the_end_of_the_file(song: AudioInput, end: float | None) -> None:
    assert resolve(input_audio=song, continuation=True, continuation_end=end).continuation_end is None


def test_end_is_not_negative_except_minus_1(song: AudioInput) -> None:
    assert "must be -1" in problems(input_audio=song, continuation_end=-0.5)[0]


def test_a_continuation_is_longer_than_what_it_continues(song: AudioInput) -> None:
    [sentence] = problems(input_audio=song, continuation=True, duration=3)
    assert "is 3 s long, so duration (the total length) must be more" in sentence
    assert resolve(input_audio=song, continuation=True, duration=3, continuation_start=1).duration == 3


def test_auto_selects_the_best_capable_model() -> None:
    def chosen(*present: str, **inputs: Any) -> str:
        return GenerationRequest.from_inputs({"prompt": "jazz"} | inputs, list(present)).model_version

    assert chosen("demo", "small") == "small"
    assert chosen("large", "stereo-medium", "stereo-melody") == "large"
    assert chosen("large", "stereo-large", "stereo-melody-large") == "stereo-large"
    assert chosen("demo") == "demo"


def test_auto_selects_a_melody_model_for_a_melody(song: AudioInput) -> None:
    request = GenerationRequest.from_inputs({"input_audio": song}, ["large", "melody", "demo"])
    assert request.model_version == "melody"


def test_every_checkpoint_can_be_requested() -> None:
    for name in CHECKPOINTS:
        assert GenerationRequest.from_inputs({"prompt": "x", "model_version": name}, [name]).model_version == name


@pytest.mark.parametrize("text", ["", " \n"])
def test_blank_negative_prompt_is_none(text: str) -> None:
    assert resolve(prompt="jazz", negative_prompt=text).negative_prompt is None
    assert problems(negative_prompt="jazz") == ["Give a prompt, input_audio, or both."]
