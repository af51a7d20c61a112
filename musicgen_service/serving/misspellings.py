"""Detects unknown inputs, which Cog's server ignores, and misspelt choices, which it rejects without a suggestion."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from musicgen_service.requests.fields import unknown_input
from musicgen_service.suggestion import did_you_mean

Inputs = Mapping[str, tuple[str, ...]]
"""The names of a predictor's inputs, each with its choices if it has any."""
_MAX_PROBLEMS = 10
"""Maximum number of problems listed; a request may have any number of inputs."""
_MAX_COMPARED_LENGTH = 100
"""Maximum characters of a value for which a suggestion is searched."""


def of_schema(schema: Mapping[str, Any]) -> Inputs:
    """The inputs that a predictor's schema declares."""
    schemas = schema["components"]["schemas"]
    return {name: tuple(schemas.get(name, {}).get("enum", ())) for name in schemas["Input"]["properties"]}


def find(request: Mapping[str, Any], inputs: Inputs) -> list[dict[str, Any]]:
    """Problems in the body of a prediction request, in the format of Cog's validation errors."""
    problems = _find_problems(request, inputs)
    return [
        {"loc": ["body", *location], "msg": sentence, "type": "value_error"}
        for location, sentence in islice(problems, _MAX_PROBLEMS)
    ]


def _find_problems(request: Mapping[str, Any], inputs: Inputs) -> Iterator[tuple[tuple[str, ...], str]]:
    values = request.get("input", {})
    for name in request:
        if name in inputs or ("input" not in request and name.lower().rstrip("s") == "input"):
            yield (name,), f"'{name}' is not inside 'input': put the inputs under 'input'."
    if not isinstance(values, dict):
        return
    for name, value in values.items():
        if name not in inputs:
            yield ("input", name[:_MAX_COMPARED_LENGTH]), unknown_input(name, inputs)
        elif near := _near_choice(value, inputs[name]):
            yield ("input", name), f"'{value}' is not one of {', '.join(inputs[name])}{near}."


def _near_choice(value: Any, choices: tuple[str, ...]) -> str:
    """A suggestion for an invalid choice; empty when none is close: Cog's server rejects it then."""
    is_choice = not choices or not isinstance(value, str) or value in choices or len(value) > _MAX_COMPARED_LENGTH
    return "" if is_choice else did_you_mean(value, choices)
