"""Checks the body of a prediction request: the fields that there are, and the inputs against the predictor's schema.

Cog's server ignores unknown fields and inputs, and rejects misspelt choices without a suggestion. Its own checks are
made again here, with the same sentences, so that an invalid request is refused before it waits for its turn.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import jsonschema_rs

from musicgen_service.requests.fields import unknown_input
from musicgen_service.suggestion import did_you_mean

FIELDS = ("id", "input", "webhook", "webhook_events_filter")
IGNORED_FIELDS = ("context", "created_at", "output_file_prefix", "stream", "version")
"""Fields that clients of Cog and of the hosted platform send, and that change nothing here."""
_MAX_PROBLEMS = 10
"""Maximum number of problems listed; a request may have any number of inputs."""
_MAX_QUOTED_LENGTH = 100
"""Maximum characters of an unknown name in its sentence and location."""
_MAX_SENTENCE_LENGTH = 1000
_MAX_TEXT_LENGTH = 65_536
"""Maximum characters of an input that is no file: predictors take fewer, and what a client asks for is kept."""
_DATA = "data:"

_Problem = tuple[tuple[str, ...], str, str]
"""The location within the body, a sentence, and the kind of problem."""


class InputChecks:
    """Checks requests against the schema of a predictor.

    Parameters
    ----------
    schema : as published at `/openapi.json`; its names of inputs and choices are `Input`'s properties and their enums
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        schemas = schema["components"]["schemas"]
        self._choices = {name: tuple(schemas.get(name, {}).get("enum", ())) for name in schemas["Input"]["properties"]}
        self._files = {name for name, about in schemas["Input"]["properties"].items() if about.get("format") == "uri"}
        self._validator = jsonschema_rs.validator_for(schemas["Input"] | {"components": schema["components"]})

    def problems(self, request: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Problems in the body of a request, in the format of Cog's validation errors.

        Parameters
        ----------
        request : the body; an input that is null counts as left out
        """
        found = list(islice(self._unknown(request), _MAX_PROBLEMS)) or self._invalid(request)
        return [
            {"loc": ["body", *location], "msg": sentence[:_MAX_SENTENCE_LENGTH], "type": kind}
            for location, sentence, kind in found
        ]

    def _unknown(self, request: Mapping[str, Any]) -> Iterator[_Problem]:
        """Unknown names, misspelt choices and overlong texts."""
        kind = "value_error"
        for name in request:
            if name in self._choices or ("input" not in request and name.lower().rstrip("s") == "input"):
                yield (name,), f"'{name}' is not inside 'input': put the inputs under 'input'.", kind
            elif name not in FIELDS and name not in IGNORED_FIELDS:
                quoted = name[:_MAX_QUOTED_LENGTH]
                yield (quoted,), f"There is no field '{quoted}'{did_you_mean(quoted, FIELDS)}.", kind
        values = request.get("input", {})
        if not isinstance(values, dict):
            return
        for name, value in values.items():
            if name not in self._choices:
                yield ("input", name[:_MAX_QUOTED_LENGTH]), unknown_input(name, self._choices), kind
            elif near := _near_choice(value, self._choices[name]):
                yield ("input", name), f"'{value}' is not one of {', '.join(self._choices[name])}{near}.", kind
            elif not self._choices[name] and self._is_overlong(name, value):
                sentence = f"{name} has {len(value)} characters; at most {_MAX_TEXT_LENGTH} are allowed."
                yield ("input", name), sentence, kind

    def _is_overlong(self, name: str, value: Any) -> bool:
        """Whether an input is a text that is longer than any predictor takes, and not the content of a file."""
        if not isinstance(value, str) or len(value) <= _MAX_TEXT_LENGTH:
            return False
        return name not in self._files or value[: len(_DATA)].lower() != _DATA

    def _invalid(self, request: Mapping[str, Any]) -> list[_Problem]:
        """Values that the schema does not allow, sorted by input."""
        found: list[_Problem] = []
        values = request.get("input", {})
        if isinstance(values, dict):
            values = {name: value for name, value in values.items() if value is not None}
        for error in islice(self._validator.iter_errors(values), _MAX_PROBLEMS):
            if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Required):
                found.append((("input", error.kind.property), "Field required", "value_error.missing"))
                continue
            name = str(error.instance_path[0]) if error.instance_path else "__root__"
            found.append((("input", name), self._sentence(error, name), "value_error"))
        return sorted(found)

    def _sentence(self, error: jsonschema_rs.ValidationError, name: str) -> str:
        if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Enum):
            quoted = ",".join(
                f'"{choice}"' if isinstance(choice, str) else str(choice) for choice in self._choices[name]
            )
            return f"{error.message.partition(' is not one of ')[0]} is not one of [{quoted}]"
        return error.message


def _near_choice(value: Any, choices: tuple[Any, ...]) -> str:
    """A suggestion for an invalid choice; empty when none is close."""
    texts = [choice for choice in choices if isinstance(choice, str)]
    return did_you_mean(value, texts) if isinstance(value, str) and value not in texts else ""
