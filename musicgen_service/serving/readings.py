"""Routes that read the texts of inputs, for clients that show what is understood while somebody writes."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.analysis.chord_labels import pitch_classes
from musicgen_service.analysis.chord_symbols import symbol
from musicgen_service.analysis.pitch import NOTE_NAMES
from musicgen_service.requests import chord_text, sections, time_signature
from musicgen_service.requests.chord_text import Part, Progression
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS, Field, check
from musicgen_service.requests.sections import Section
from musicgen_service.serving import bodies
from musicgen_service.serving.refusals import Refusal, reply

_SECTIONS = {name: FIELDS[name] for name in ("sections", "prompt", "bpm", "time_signature")}
_CHORDS = {"text_chords": FIELDS["text_chords"]}
_MAX_BARS = 200
"""Maximum number of bars in a reply: a text with repeats has hundreds of thousands."""


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
        return await self._answer(request, _SECTIONS, _read_sections)

    async def chords(self, request: Request) -> Response:
        """Answer `POST /chords`."""
        return await self._answer(request, _CHORDS, _read_chords)

    async def _answer(
        self, request: Request, fields: Mapping[str, Field], read: Callable[[dict[str, Any]], dict[str, Any]]
    ) -> Response:
        async with bodies.reading(request, self._memory) as body:
            inputs = body.get("input") if isinstance(body, dict) else None
            if not isinstance(inputs, dict):
                allowed = ", ".join(fields)
                raise Refusal(422, f'The body must be {{"input": {{...}}}} with any of {allowed}.')
            values, problems = check(fields, inputs)
            try:
                if problems:
                    raise RequestError(problems)
                return reply(200, await asyncio.to_thread(read, values))
            except RequestError as error:
                raise Refusal(422, str(error)) from None


def _read_sections(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        signature = time_signature.read(values["time_signature"] or None)
    except ValueError as error:
        raise RequestError([str(error)]) from None
    found = sections.read(values["sections"] or "", values["prompt"] or None, values["bpm"], signature)
    return {"seconds": found[-1].end, "sections": [_section(section) for section in found]}


def _section(section: Section) -> dict[str, Any]:
    return {**vars(section), "chords": None if section.chords is None else _progression(section.chords)}


def _read_chords(values: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return _progression(chord_text.read(values["text_chords"] or ""))
    except chord_text.ChordTextError as error:
        raise RequestError([f"text_chords: {error}"]) from None


def _progression(progression: Progression) -> dict[str, Any]:
    return {
        "count": len(progression.bars),
        "bars": [[_chord(part) for part in bar] for bar in progression.bars[:_MAX_BARS]],
        "key": None if progression.key is None else str(progression.key),
    }


def _chord(part: Part) -> dict[str, Any]:
    notes = [name for name, sounds in zip(NOTE_NAMES, pitch_classes(part.label), strict=True) if sounds]
    return {"chord": symbol(part.label), "notes": notes, "share": float(part.end - part.start)}
