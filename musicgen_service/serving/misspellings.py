"""What Cog's server lets through or does not explain: inputs that there are not, and choices that are misspelt."""

from collections.abc import Iterator, Mapping
from typing import Any

from musicgen_service.requests.fields import unknown_input
from musicgen_service.suggestion import did_you_mean

Inputs = Mapping[str, tuple[str, ...]]
"""The names of a predictor's inputs, with the choices of those that have some."""
_MOST = 10
"""Problems that are listed; a request may be as long as a file."""
_LONGEST = 100
"""Characters of a choice that is compared with others."""


def of_schema(schema: Mapping[str, Any]) -> Inputs:
    """The inputs that a predictor's schema declares."""
    schemas = schema["components"]["schemas"]
    return {name: tuple(schemas.get(name, {}).get("enum", ())) for name in schemas["Input"]["properties"]}


def problems(request: Mapping[str, Any], inputs: Inputs) -> list[dict[str, Any]]:
    """What is misspelt in the body of a prediction request, each as Cog's server lists what is wrong."""
    found = []
    for name, sentence in _found(request, inputs):
        found.append({"loc": ["body", *name], "msg": sentence, "type": "value_error"})
        if len(found) == _MOST:
            break
    return found


def _found(request: Mapping[str, Any], inputs: Inputs) -> Iterator[tuple[tuple[str, ...], str]]:
    given = request.get("input", {})
    for name in request:
        if name in inputs or ("input" not in request and name.lower().rstrip("s") == "input"):
            yield (name,), f"'{name}' is not inside 'input': put the inputs under 'input'."
    if not isinstance(given, dict):
        return
    for name, value in given.items():
        if name not in inputs:
            yield ("input", name[:_LONGEST]), unknown_input(name, inputs)
        elif near := _near_choice(value, inputs[name]):
            yield ("input", name), f"'{value}' is not one of {', '.join(inputs[name])}{near}."


def _near_choice(value: Any, choices: tuple[str, ...]) -> str:
    """What a choice may mean that there is not; Cog's server itself refuses one that is near to none."""
    is_choice = not choices or not isinstance(value, str) or value in choices or len(value) > _LONGEST
    return "" if is_choice else did_you_mean(value, choices)
