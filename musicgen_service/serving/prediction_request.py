"""What a client asks for, read from the body and headers of a request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicgen_service.inputs import served_files
from musicgen_service.serving.models import Model
from musicgen_service.serving.refusals import Refusal

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
EVENTS = ("start", "output", "logs", "completed")
"""The events that a webhook may be told."""


@dataclass(frozen=True)
class PredictionRequest:
    """A prediction that a client asks for.

    Attributes
    ----------
    id : the client's own name for it, or None
    inputs : by name; none of them is null
    webhook : address to report to, not looked at yet, or None
    events : which events to report
    model : what is to carry it out
    """

    id: str | None
    inputs: dict[str, Any]
    webhook: str | None
    events: tuple[str, ...]
    model: Model

    @property
    def tokens(self) -> set[str]:
        """The tokens of the service's own files that are inputs."""
        found = [served_files.split(value) for value in self.inputs.values() if isinstance(value, str)]
        return {parts[0] for parts in found if parts}


def read(body: Any, id_in_path: str | None, model: Model) -> PredictionRequest:
    """Read the body of a request.

    Parameters
    ----------
    body : any JSON value
    id_in_path : the id in the address, if it has one
    model : what is to carry it out; without a schema its inputs are not checked

    Raises
    ------
    Refusal
        When it is no valid request, with every problem.
    """
    body = object_in(body)
    prediction_id = _id(body, id_in_path)
    if model.checks and (problems := model.checks.problems(body)):
        raise Refusal(422, " ".join(problem["msg"] for problem in problems), problems)
    # Cog refuses null even for an optional input.
    given = {**model.preset, **inputs_of({"input": {}} | body)}
    return PredictionRequest(prediction_id, given, webhook_of(body), events_of(body), model)


def object_in(body: Any) -> dict[str, Any]:
    """Return the body of a request, which is any JSON value.

    Raises
    ------
    Refusal
        When it is no object.
    """
    if not isinstance(body, dict):
        raise Refusal(422, "The body must be a JSON object.")
    return body


def inputs_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs in a body that are not null.

    Raises
    ------
    Refusal
        When they are no object.
    """
    inputs = body.get("input")
    if not isinstance(inputs, dict):
        raise Refusal(422, "input must be an object.")
    return {name: value for name, value in inputs.items() if value is not None}


def check_id(prediction_id: Any) -> str:
    """Check a client's id.

    Raises
    ------
    Refusal
        When it is not a plain name.
    """
    if not isinstance(prediction_id, str) or not _ID.fullmatch(prediction_id):
        raise Refusal(422, "id must be up to 128 letters, digits, '.', '_' and '-', the first a letter or digit.")
    return prediction_id


def _id(body: Mapping[str, Any], id_in_path: str | None) -> str | None:
    in_body = None if body.get("id") is None else check_id(body["id"])
    if id_in_path is not None and in_body not in (None, id_in_path):
        sentence = "prediction ID must match the ID supplied in the URL"
        raise Refusal(422, sentence, [{"loc": ["body", "id"], "msg": sentence, "type": "value_error"}])
    return in_body if id_in_path is None else id_in_path


def webhook_of(body: Mapping[str, Any]) -> str | None:
    """The address that is to be told, not looked at yet.

    Raises
    ------
    Refusal
        When it is no text.
    """
    webhook = body.get("webhook")
    if webhook is not None and not isinstance(webhook, str):
        raise Refusal(422, "webhook must be an http(s) URL.")
    return webhook


def events_of(body: Mapping[str, Any]) -> tuple[str, ...]:
    """The events that are to be told.

    Raises
    ------
    Refusal
        When there is one of another name.
    """
    events = body.get("webhook_events_filter")
    if events is None:
        return EVENTS
    if not isinstance(events, list) or not all(event in EVENTS for event in events):
        raise Refusal(422, f"webhook_events_filter must be a list of {', '.join(EVENTS)}.")
    return tuple(events)
