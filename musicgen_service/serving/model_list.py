"""The list of models that clients see."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.models import listing
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS, fetch_command
from musicgen_service.models.store import WeightStore
from musicgen_service.serving.refusals import reply

_BYTES_PER_PARAMETER = 2
"""Released checkpoints are in half precision."""


async def answer(request: Request) -> Response:
    """Answer `GET /models`: the entries of `weights list --json`, and what is needed to fetch one that is missing."""
    return reply(200, {"models": await asyncio.to_thread(_models)})


def _models() -> list[dict[str, Any]]:
    entries = listing.folders(WeightStore.from_environment())
    return [*map(_with_fetch, entries), *listing.packages()]


def _with_fetch(entry: dict[str, Any]) -> dict[str, Any]:
    if entry["present"]:
        return entry
    name = entry["name"]
    if name in COMPONENTS and COMPONENTS[name].hub_id is None:
        return entry  # its authors offer it on a page of their own, in `source`
    entry = entry | {"fetch": fetch_command(name)}
    return entry | {"download_bytes": entry["parameters"] * _BYTES_PER_PARAMETER} if name in CHECKPOINTS else entry
