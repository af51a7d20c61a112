"""The rules of a request, each with its sentence."""

import time
from typing import Any

import pytest

from musicgen_service import notes
from musicgen_service.audio.reading import AudioInput
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests import tempo
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.tasks import TASKS
from musicgen_service.seeds import MAX_SEED
from tests.support.sounds import recording

PRESENT = ["small", "stereo-melody", "demo"]


def settle(**inputs: Any) -> GenerationRequest:
    return GenerationRequest.from_inputs(inputs, PRESENT)


def problems(**inputs: Any) -> list[str]:
    with pytest.raises(RequestError) as refused:
        settle(**inputs)
    return refused.value.problems


@pytest.fixture
def song() -> AudioInput:
    """Three seconds of a chord."""
    return recording(3, 8000)


def test_a_prompt_alone_is_enough() -> None:
    request = settle(prompt="jazz")
    assert (request.task, request.model_version, request.duration) == ("text", "stereo-melody", 8.0)
    assert 1 <= request.seed <= MAX_SEED


def test_missing_and_null_inputs_take_their_defaults() -> None:
    assert settle(prompt="jazz", seed=1) == settle(**{name: None for name in FIELDS} | {"prompt": "jazz", "seed": 1})


@pytest.mark.parametrize("seed", [None, 0, -1])
def test_an_open_seed_is_drawn_anew(seed: int | None) -> None:
    assert settle(prompt="jazz", seed=seed).seed != settle(prompt="jazz", seed=seed).seed


def test_a_request_of_musicgen_custom_is_accepted_unchanged(song: AudioInput) -> None:
    request = settle(
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


def test_whole_numbers_may_arrive_as_floats() -> None:
    request = settle(prompt="jazz", top_k=50.0, variations=2.0, seed=9.0)
    assert [type(value) for value in (request.top_k, request.variations, request.seed)] == [int, int, int]


NUMBERS = {name: field for name, field in FIELDS.items() if field.kind in (int, float)}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_held_to_their_bounds(name: str) -> None:
    field = NUMBERS[name]
    assert field.minimum is not None and field.maximum is not None
    for outside in (field.minimum - 1, field.maximum + 1, float("nan"), float("inf"), -float("inf"), 10**400):
        [sentence] = problems(prompt="jazz", **{name: outside})
        assert sentence.startswith(f"{name} must be a") and " from " in sentence
    for inside in (field.minimum, field.maximum):
        request = settle(prompt="jazz", **{name: inside})
        if (name, inside) not in {("seed", -1), ("seed", 0), ("continuation_end", -1)}:
            assert getattr(request, name) == inside


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["8", True, [8], {"a": 1}, b"8"])
def test_numbers_must_be_numbers(name: str, value: Any) -> None:
    assert problems(prompt="jazz", **{name: value})[0].startswith(f"{name} must be a")


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.kind is int])
def test_whole_numbers_must_be_whole(name: str) -> None:
    assert "whole number" in problems(prompt="jazz", **{name: 1.5})[0]


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.choices])
def test_choices_are_listed_when_missed(name: str) -> None:
    choices = FIELDS[name].choices
    assert choices is not None
    assert problems(prompt="jazz", **{name: "NOPE"}) == [f"{name} must be one of {', '.join(choices)}, not 'NOPE'."]


@pytest.mark.parametrize("value", ["true", 1, 0])
def test_flags_are_true_or_false(value: Any) -> None:
    assert "must be true or false" in problems(prompt="jazz", continuation=value)[0]


def test_a_bare_string_is_no_file() -> None:
    assert problems(input_audio="/etc/passwd") == [
        "input_audio must be an http(s) URL or a data URI, not '/etc/passwd'."
    ]


def test_unknown_inputs_are_named() -> None:
    assert problems(prompt="jazz", tempo=90) == ["There is no input 'tempo'."]


@pytest.mark.parametrize("prompt", [None, "", "  \n"])
def test_something_must_be_asked_for(prompt: str | None) -> None:
    assert problems(prompt=prompt) == ["Give a prompt, input_audio, or both."]


@pytest.mark.parametrize("task", ["melody", "continuation", "encode-decode"])
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


@pytest.mark.parametrize("prompt", ["jazz, 120 bpm", "jazz 120bpm", "jazz (BPM: 120)", "jazz at 120 beats per minute"])
def test_a_loop_takes_its_tempo_from_bpm_or_the_prompt(prompt: str) -> None:
    named = settle(task="loop", prompt=prompt)
    assert (named.bpm, named.description) == (120, prompt)
    given = settle(task="loop", prompt="jazz", bpm=120)
    assert (given.bpm, given.description) == (120, "jazz, 120 bpm")
    assert settle(task="loop", bpm=60.23).description == "60.23 bpm"


def test_a_loop_needs_a_tempo() -> None:
    assert problems(task="loop", prompt="jazz") == [
        "Task 'loop' needs bpm, from 40 to 300, or a prompt that names a tempo, such as '120 bpm'."
    ]
    for bpm in (39, 301):
        [sentence] = problems(task="loop", prompt=f"jazz, {bpm} bpm")
        assert sentence == f"The prompt says {bpm} bpm; a loop's tempo may be from 40 to 300 bpm."


@pytest.mark.parametrize("seconds", [1.9, 20.1])
def test_the_duration_of_a_loop_has_bounds_of_its_own(seconds: float) -> None:
    assert problems(task="loop", bpm=120, prompt="jazz", duration=seconds) == [
        f"For task 'loop' duration is the longest that the loop may be, from 2 to 20 s, not {seconds} s."
    ]


def test_at_least_one_beat_of_every_allowed_tempo_fits_every_allowed_loop() -> None:
    slowest = FIELDS["bpm"].minimum
    allowed = TASKS["loop"].duration
    assert slowest is not None and allowed is not None and 60 / slowest <= allowed[0]


def test_a_loop_takes_no_audio(song: AudioInput) -> None:
    assert problems(task="loop", bpm=120, input_audio=song)[0].startswith("Task 'loop' takes no input_audio")


def test_a_loop_is_made_by_any_model() -> None:
    assert settle(task="loop", bpm=120, model_version="small").model_version == "small"


def test_a_remix_needs_a_song_and_a_melody_model(song: AudioInput) -> None:
    assert problems(task="remix", prompt="jazz") == ["Task 'remix' needs input_audio."]
    assert settle(task="remix", input_audio=song).model_version == "stereo-melody"
    [sentence] = problems(task="remix", input_audio=song, model_version="small")
    assert sentence.startswith("Model 'small' takes no melody: use one of melody, ") and sentence.endswith("demo.")
    with pytest.raises(RequestError, match=r"for task 'remix' .* weights fetch melody"):
        GenerationRequest.from_inputs({"task": "remix", "input_audio": song}, ["small"])


def test_a_remix_is_of_at_most_ten_minutes() -> None:
    song = recording(601, 8000)
    assert problems(task="remix", input_audio=song) == [
        "The song to remix is 601 s long; at most 600 s are allowed: "
        "choose a part with continuation_start and continuation_end."
    ]
    assert settle(task="remix", input_audio=song, continuation_start=1).continuation_start == 1


def test_stems_are_those_of_a_remix(song: AudioInput) -> None:
    assert settle(task="remix", input_audio=song, return_stems=True).return_stems
    assert problems(prompt="jazz", return_stems=True) == [
        "return_stems is for task 'remix', and task is 'text': leave it out."
    ]


def test_a_text_model_takes_no_melody(song: AudioInput) -> None:
    [sentence] = problems(model_version="small", input_audio=song)
    assert sentence.startswith("Model 'small' takes no melody: use one of melody, ")


def test_an_absent_model_comes_with_the_command_that_fetches_it() -> None:
    [sentence] = problems(prompt="jazz", model_version="large")
    assert sentence.endswith("run `python -m musicgen_service weights fetch large`.")


def test_no_model_at_all_is_said() -> None:
    with pytest.raises(RequestError, match="weights fetch small"):
        GenerationRequest.from_inputs({"prompt": "jazz"}, [])


def test_diffusion_needs_the_released_codec() -> None:
    assert "released codec only" in problems(prompt="jazz", model_version="demo", multi_band_diffusion=True)[0]
    assert settle(prompt="jazz", model_version="stereo-melody", multi_band_diffusion=True).multi_band_diffusion


def test_start_comes_before_end(song: AudioInput) -> None:
    for start, end in ((2, 1), (1, 1)):
        [sentence] = problems(input_audio=song, continuation=True, continuation_start=start, continuation_end=end)
        assert sentence == f"continuation_start ({start} s) must be before continuation_end ({end} s)."


def test_start_lies_within_the_file(song: AudioInput) -> None:
    [sentence] = problems(input_audio=song, continuation=True, continuation_start=3)
    assert sentence == "continuation_start (3 s) is beyond the end of input_audio (3 s)."


def test_an_end_beyond_the_file_is_the_end_of_the_file(song: AudioInput) -> None:
    assert settle(input_audio=song, continuation=True, continuation_end=30).continuation_end == 30


@pytest.mark.parametrize("end", [None, -1])
def test_an_open_end_is_the_end_of_the_file(song: AudioInput, end: float | None) -> None:
    assert settle(input_audio=song, continuation=True, continuation_end=end).continuation_end is None


def test_an_end_is_not_otherwise_negative(song: AudioInput) -> None:
    assert "must be -1" in problems(input_audio=song, continuation_end=-0.5)[0]


def test_a_continuation_is_longer_than_what_it_continues(song: AudioInput) -> None:
    [sentence] = problems(input_audio=song, continuation=True, duration=3)
    assert "is 3 s long, so duration (the total length) must be more" in sentence
    assert settle(input_audio=song, continuation=True, duration=3, continuation_start=1).duration == 3


def test_the_sound_of_a_request_is_among_its_inputs_as_it_is(song: AudioInput) -> None:
    assert settle(input_audio=song).as_inputs()["input_audio"] is song


def test_an_endless_prompt_is_refused() -> None:
    assert problems(prompt="x" * 4001) == ["The prompt has 4001 characters; at most 4000 are allowed."]


def test_a_prompt_is_valid_text() -> None:
    assert "unpaired surrogates" in problems(prompt="jazz \ud83c")[0]


def test_bpm_joins_the_description_once() -> None:
    assert settle(prompt="jazz", bpm=92).description == "jazz, 92 bpm"
    assert settle(prompt="jazz, 92 BPM", bpm=92).description == "jazz, 92 BPM"
    assert settle(prompt="jazz").description == "jazz"


def test_bpm_and_prompt_do_not_contradict() -> None:
    assert problems(prompt="jazz at 120 bpm", bpm=90) == [
        "The prompt says 120 bpm but bpm is 90: leave one of them out."
    ]


def test_every_problem_is_reported_at_once() -> None:
    found = problems(
        prompt="jazz 120 bpm", bpm=90, top_k=-1, model_version="large", output_format="aiff", continuation=True
    )
    assert len(found) == 5
    with pytest.raises(RequestError, match=r"^2 problems: \(1\) duration .* \(2\) Give a prompt"):
        settle(duration=0)


def test_auto_takes_the_best_model_that_can() -> None:
    def chosen(*present: str, **inputs: Any) -> str:
        return GenerationRequest.from_inputs({"prompt": "jazz"} | inputs, list(present)).model_version

    assert chosen("demo", "small") == "small"
    assert chosen("large", "stereo-medium", "stereo-melody") == "large"
    assert chosen("large", "stereo-large", "stereo-melody-large") == "stereo-large"
    assert chosen("demo") == "demo"


def test_auto_for_a_melody_takes_a_melody_model(song: AudioInput) -> None:
    request = GenerationRequest.from_inputs({"input_audio": song}, ["large", "melody", "demo"])
    assert request.model_version == "melody"


def test_every_checkpoint_can_be_asked_for() -> None:
    for name in CHECKPOINTS:
        assert GenerationRequest.from_inputs({"prompt": "x", "model_version": name}, [name]).model_version == name


@pytest.mark.parametrize(
    ("prompt", "bpm", "description"),
    [
        ("high bpm 90s rave", 140, "high bpm 90s rave, 140 bpm"),
        ("low bpm 808 trap", 140, "low bpm 808 trap, 140 bpm"),
        ("128-bpm techno", 128, "128-bpm techno"),
        ("techno, tempo 124", 124, "techno, tempo 124"),
        ("techno, 124,5 bpm", 124.5, "techno, 124,5 bpm"),
        ("120-130 bpm house", 125, "120-130 bpm house, 125 bpm"),
        ("120 BPM drum & bass at 87.5bpm", 87.5, "120 BPM drum & bass at 87.5bpm, 87.5 bpm"),
    ],
)
def test_the_model_reads_one_tempo(prompt: str, bpm: float, description: str) -> None:
    assert settle(prompt=prompt, bpm=bpm).description == description
    assert settle(task="loop", prompt=prompt, bpm=bpm).description == description


@pytest.mark.parametrize(
    ("prompt", "bpm", "said"),
    [
        ("tempo 124", 140, "124 bpm"),
        ("120-130 bpm house", 150, "120 to 130 bpm"),
        ("120 bpm, later 90 bpm", 100, "120 bpm and 90 bpm"),
    ],
)
def test_bpm_is_among_what_the_prompt_says(prompt: str, bpm: float, said: str) -> None:
    assert problems(prompt=prompt, bpm=bpm) == [f"The prompt says {said} but bpm is {bpm:g}: leave one of them out."]


def test_a_loop_of_a_range_has_its_middle() -> None:
    with notes.collected() as told:
        request = settle(task="loop", prompt="120-131 bpm house")
    assert (request.bpm, request.description) == (125.5, "120-131 bpm house, 125.5 bpm")
    assert told == ["The prompt says 120 to 131 bpm; 125.5 bpm is used."]


def test_a_loop_of_two_tempi_is_refused_and_other_music_is_told() -> None:
    prompt = "120 BPM drum & bass at 87.5bpm"
    assert problems(task="loop", prompt=prompt) == [
        "The prompt says 120 bpm and 87.5 bpm, and a loop has one tempo: say which with bpm."
    ]
    with notes.collected() as told:
        assert settle(prompt=prompt).description == prompt
    assert told == ["The prompt says 120 bpm and 87.5 bpm, and the music may follow any of them."]


@pytest.mark.parametrize("prompt", ["808 trap", "high bpm 90s rave", "4/4"])
def test_a_number_is_no_tempo_of_a_loop(prompt: str) -> None:
    assert "needs bpm" in problems(task="loop", prompt=prompt)[0]


def test_every_text_is_measured_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(_prompt: str) -> None:
        raise AssertionError("a text that is too long was read")

    monkeypatch.setattr(tempo, "read", read)
    monkeypatch.setattr("musicgen_service.requests.fields.did_you_mean", read)
    texts = [name for name, field in FIELDS.items() if field.kind is str]
    assert set(texts) >= {"prompt", "task", "model_version"}
    long = "1" * 2_000_000
    for name in texts:
        taken = []
        for _ in range(5):
            started = time.thread_time()
            found = problems(**{"bpm": 120, name: long})
            taken.append(time.thread_time() - started)
        assert min(taken) < 0.01
        assert f"The {name} has 2000000 characters; at most 4000 are allowed." in found


def test_what_is_shown_of_a_value_is_short() -> None:
    for value in ("x" * 2_000_000, 10**5000, b"x" * 5000):
        [sentence] = problems(prompt="jazz", duration=value)
        assert sentence.startswith("duration must be a number from 1 to 600, not ") and len(sentence) < 120
    [sentence] = problems(prompt="jazz", **{"x" * 2_000_000: 1})
    assert len(sentence) < 120


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"promt": "rock"}, "There is no input 'promt' (did you mean 'prompt'?)."),
        ({"model_version": "stereo-larg"}, "not 'stereo-larg' (did you mean 'stereo-large'?)."),
        ({"task": "Loop"}, "not 'Loop' (did you mean 'loop'?)."),
    ],
)
def test_what_is_misspelt_is_named_with_what_it_may_mean(inputs: dict[str, Any], sentence: str) -> None:
    assert problems(**{"prompt": "jazz"} | inputs)[0].endswith(sentence)


@pytest.mark.parametrize("temperature", [1e-6, 1e-39, 5e-324])
def test_a_temperature_that_changes_nothing_is_0(temperature: float) -> None:
    with notes.collected() as told:
        assert settle(prompt="jazz", temperature=temperature).temperature == 0
    assert told == [f"temperature {temperature:g} is as good as 0: it always takes the likeliest token."]
    assert settle(prompt="jazz", temperature=0.01).temperature == 0.01
