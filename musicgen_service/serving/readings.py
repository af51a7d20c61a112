"""Routes that read the texts of inputs, for clients that show what is understood while somebody writes."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.requests import sections, time_signature
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, check
from musicgen_service.serving import bodies
from musicgen_service.serving.refusals import Refusal, reply

_SECTIONS = {name: FIELDS[name] for name in ("sections", "prompt", "bpm", "time_signature")}


class Readings:
    """Reads texts.

    Parameters
    ----------
    memory : counts the bodies of requests
    """

    def __init__(self, memory: bodies.BodyMemory) -> None:
        self._memory = memory

    async def sections(self, request: Request) -> Response:
        """Answer `POST /sections`."""
        async with bodies.reading(request, self._memory) as body:
            inputs = body.get("input") if isinstance(body, dict) else None
            if not isinstance(inputs, dict):
                allowed = ", ".join(_SECTIONS)
                raise Refusal(422, f'The body must be {{"input": {{...}}}} with any of {allowed}.')
            try:
                return reply(200, _read_sections(inputs))
            except RequestError as error:
                raise Refusal(422, str(error)) from None


def _read_sections(inputs: Mapping[str, Any]) -> dict[str, Any]:
    values, problems = check(_SECTIONS, inputs)
    if problems:
        raise RequestError(problems)
    try:
        signature = time_signature.read(values["time_signature"] or None)
    except ValueError as error:
        raise RequestError([str(error)]) from None
    found = sections.read(values["sections"] or "", values["prompt"] or None, values["bpm"], signature)
    return {"seconds": found[-1].end, "sections": [vars(section) for section in found]}
