"""Unknown fields, misspellings and invalid values, before Cog sees them."""

from typing import Any

import httpx
import pytest

from musicgen_service.serving.input_checks import InputChecks
from tests.serving.conftest import SCHEMA
from tests.support.fake_cog import FakeCog

CHECKS = InputChecks(SCHEMA)


def problem(body: dict[str, Any]) -> tuple[list[str], str]:
    """The location and sentence of the only problem."""
    [found] = CHECKS.problems(body)
    return found["loc"], found["msg"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"input": {"promt": "a"}}, "There is no input 'promt' (did you mean 'prompt'?)."),
        ({"input": {"x": None}}, "There is no input 'x'."),
        ({"input": {"model_version": "stereo-larg"}}, "(did you mean 'stereo-large'?)."),
        ({"prompt": "a"}, "put the inputs under 'input'."),
        ({"Inputs": {"prompt": "a"}}, "put the inputs under 'input'."),
        ({"input": {"x" * 1_000_000: 1}}, "There is no input 'xxx"),
        ({"webhok": "a", "input": {}}, "There is no field 'webhok' (did you mean 'webhook'?)."),
        ({"y" * 1_000_000: "a", "input": {}}, "There is no field 'yyy"),
        ({"input": {"model_version": "z" * 1_000_000}}, '"zzz'),
        ({"input": {"prompt": "z" * 65_537}}, "prompt has 65537 characters; at most 65536 are allowed."),
        ({"input": {"prompt": "data:" + "z" * 65_537}}, "prompt has 65542 characters; at most 65536 are allowed."),
        ({"input": {"input_audio": "http://" + "z" * 65_537}}, "input_audio has 65544 characters; at most 65536 are"),
    ],
)
def test_a_mistake_is_named(body: dict[str, Any], sentence: str, client: httpx.Client, cog: FakeCog) -> None:
    reply = client.post("/predictions", json=body)
    assert reply.status_code == 422
    [detail] = reply.json()["detail"]
    assert sentence in detail["msg"] and reply.json()["error"] == detail["msg"]
    assert len(reply.content) < 2500 and cog.requests == []


@pytest.mark.parametrize(
    ("inputs", "field", "sentence"),
    [
        ({"model_version": "zzz"}, "model_version", '"zzz" is not one of ["auto","small",'),
        ({"duration": 0.5}, "duration", "0.5 is less than the minimum of 1"),
        ({"duration": 601}, "duration", "601 is greater than the maximum of 600"),
        ({"duration": "8"}, "duration", '"8" is not of type "number"'),
        ({"seed": 1.5}, "seed", '1.5 is not of type "integer"'),
        ({"continuation": 1}, "continuation", '1 is not of type "boolean"'),
        (5, "__root__", '5 is not of type "object"'),
    ],
)
def test_sentences_about_values_are_cogs(inputs: Any, field: str, sentence: str) -> None:
    location, found = problem({"input": inputs})
    assert location == ["body", "input", field] and found.startswith(sentence)


def test_a_missing_input_is_reported_as_by_cog() -> None:
    schemas = SCHEMA["components"]["schemas"]
    required = {"components": {"schemas": schemas | {"Input": schemas["Input"] | {"required": ["prompt"]}}}}
    [found] = InputChecks(required).problems({"input": {}})
    expected = {"loc": ["body", "input", "prompt"], "msg": "Field required", "type": "value_error.missing"}
    assert found == expected


def test_no_more_than_ten_problems_are_listed() -> None:
    assert len(CHECKS.problems({"input": {f"x{number}": 1 for number in range(10_000)}})) == 10


@pytest.mark.parametrize(
    "body",
    [
        {"input": {"prompt": "a", "model_version": "small"}, "id": "a", "version": "x", "context": {}, "stream": True},
        {"input": {"seed": None, "variations": 2.0}},
        {},
    ],
)
def test_correct_requests_have_no_problems(body: dict[str, Any]) -> None:
    assert CHECKS.problems(body) == []
