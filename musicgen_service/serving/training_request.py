"""What a client asks for that posts a training, read from the body of its request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from musicgen_service.models.adapters import NAME, NAME_ALLOWED
from musicgen_service.serving import prediction_request, training_inputs
from musicgen_service.serving.models import Model
from musicgen_service.serving.refusals import Refusal
from musicgen_service.suggestion import did_you_mean

_FIELDS = ("input", "destination", "webhook", "webhook_events_filter", "version")
_DESTINATION = re.compile(rf"(?:[\w.-]+/)?({NAME.pattern})", re.ASCII)
_PREVIEW = "preview"
"""The name of an adapter that is not made."""


@dataclass(frozen=True)
class TrainingRequest:
    """A training that a client asks for.

    Attributes
    ----------
    model : whose training it is
    destination : as the client names it, `OWNER/NAME` or `NAME`
    name : of the adapter
    inputs : by name, as they were given, none of them null and without the data of data URIs
    songs : addresses
    values : the checked inputs, all but the songs
    webhook : address to report to, not looked at yet, or None
    events : which events to report
    """

    model: Model
    destination: str
    name: str
    inputs: dict[str, Any]
    songs: tuple[str, ...]
    values: dict[str, Any]
    webhook: str | None
    events: tuple[str, ...]

    @property
    def is_preview(self) -> bool:
        """Whether nothing is to be trained."""
        return bool(self.values["preview"])


def read(body: Any, model: Model) -> TrainingRequest:
    """Read the body of a request.

    Parameters
    ----------
    body : any JSON value

    Raises
    ------
    Refusal
        When it is no valid request, with every problem.
    """
    body = prediction_request.object_in(body)
    for name in body:
        if name not in _FIELDS:
            raise Refusal(422, f"There is no field '{name[:60]}'{did_you_mean(name[:60], _FIELDS)}.")
    given = prediction_request.inputs_of(body)
    songs, values, problems = training_inputs.read(given)
    if problems:
        detail = [{"loc": ["body", "input"], "msg": problem, "type": "value_error"} for problem in problems]
        raise Refusal(422, " ".join(problems), detail)
    destination, name = _destination(body, is_preview=values["preview"])
    return TrainingRequest(
        model,
        destination,
        name,
        given | {training_inputs.SONGS: training_inputs.without_data(songs)},
        songs,
        values,
        prediction_request.webhook_of(body),
        prediction_request.events_of(body),
    )


def _destination(body: Mapping[str, Any], *, is_preview: bool) -> tuple[str, str]:
    """The destination, and the name of the adapter in it."""
    destination = body.get("destination", _PREVIEW if is_preview else None)
    found = _DESTINATION.fullmatch(destination) if isinstance(destination, str) else None
    if found is None:
        raise Refusal(422, f"destination must be OWNER/NAME or NAME, the adapter's name: {NAME_ALLOWED}.")
    return found[0], found[1]
