"""Validation of single inputs: types, bounds and error messages."""

import time
from typing import Any

import pytest

from musicgen_service.requests import tempo
from musicgen_service.requests.fields import FIELDS
from tests.support.requests import problems, resolve


def test_whole_numbers_may_arrive_as_floats() -> None:
    request = resolve(prompt="jazz", top_k=50.0, variations=2.0, seed=9.0)
    assert [type(value) for value in (request.top_k, request.variations, request.seed)] == [int, int, int]


NUMBERS = {name: field for name, field in FIELDS.items() if field.kind in (int, float) and not field.choices}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_checked_against_their_bounds(name: str) -> None:
    field = NUMBERS[name]
    assert field.minimum is not None and field.maximum is not None
    for outside in (field.minimum - 1, field.maximum + 1, float("nan"), float("inf"), -float("inf"), 10**400):
        [sentence] = problems(prompt="jazz", **{name: outside})
        assert sentence.startswith(f"{name} must be a") and " from " in sentence
    for inside in (field.minimum, field.maximum):
        request = resolve(**{"prompt": "jazz", "duration": 600, name: inside})  # long enough for any fade
        if (name, inside) not in {("seed", -1), ("seed", 0), ("continuation_end", -1)}:
            assert getattr(request, name) == inside


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["8", True, [8], {"a": 1}, b"8"])
def test_numbers_must_be_numbers(name: str, value: Any) -> None:
    assert problems(prompt="jazz", **{name: value})[0].startswith(f"{name} must be a")


@pytest.mark.parametrize("name", [name for name, field in NUMBERS.items() if field.kind is int])
def test_whole_numbers_must_be_whole(name: str) -> None:
    assert "whole number" in problems(prompt="jazz", **{name: 1.5})[0]


@pytest.mark.parametrize("name", [name for name, field in FIELDS.items() if field.choices])
def test_invalid_choice_lists_the_allowed_ones(name: str) -> None:
    choices = FIELDS[name].choices
    assert choices is not None
    assert problems(prompt="jazz", **{name: "NOPE"}) == [
        f"{name} must be one of {', '.join(map(str, choices))}, not 'NOPE'."
    ]


@pytest.mark.parametrize("value", ["true", 1, 0])
def test_flags_are_true_or_false(value: Any) -> None:
    assert "must be true or false" in problems(prompt="jazz", continuation=value)[0]


def test_bare_string_is_not_a_file() -> None:
    assert problems(input_audio="/etc/passwd") == [
        "input_audio must be an http(s) URL or a data URI, not '/etc/passwd'."
    ]


def test_unknown_input_is_reported() -> None:
    assert problems(prompt="jazz", tempo=90) == ["There is no input 'tempo'."]


def test_overlong_prompt_is_rejected() -> None:
    assert problems(prompt="x" * 4001) == ["The prompt has 4001 characters; at most 4000 are allowed."]


def test_text_length_is_checked_before_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_quoted_values_are_truncated() -> None:
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
def test_misspelling_is_reported_with_a_suggestion(inputs: dict[str, Any], sentence: str) -> None:
    assert problems(**{"prompt": "jazz"} | inputs)[0].endswith(sentence)
