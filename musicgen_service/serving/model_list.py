"""The list of models that clients see."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.models import listing
from musicgen_service.models.adapters import AdapterStore, read_label
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS, fetch_command
from musicgen_service.models.store import WeightStore
from musicgen_service.serving.refusals import reply
from musicgen_service.serving.upstream import Upstream

_BYTES_PER_PARAMETER = 2
"""Released checkpoints are in half precision."""


class ModelList:
    """Answers `GET /models`.

    Parameters
    ----------
    upstream : says which models are in memory
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def answer(self, request: Request) -> Response:
        """The entries of `weights list --json`, whether each is in memory, what it takes to fetch one; and adapters."""
        return reply(200, await asyncio.to_thread(_list, await self._upstream.loaded()))


def _list(loaded: set[str]) -> dict[str, Any]:
    store = WeightStore.from_environment()
    entries = (*map(_with_fetch, listing.folders(store)), *listing.packages())
    # Of some parts there is one for each checkpoint, such as MultiBand Diffusion.
    names = {label.partition(" for ")[0] for label in loaded}
    models = [entry | {"loaded": entry["name"] in names} for entry in entries]
    used = {(named.rpartition(":")[0], digest) for label in loaded for named, digest in read_label(label)[1].items()}
    adapters = [entry | {"loaded": _is_among(entry, used)} for entry in AdapterStore.of(store).summaries()]
    return {"models": models, "adapters": adapters}


def _is_among(adapter: Mapping[str, Any], used: set[tuple[str, str]]) -> bool:
    """Whether an adapter, as it is now, is among the names and beginnings of a SHA-256."""
    return any(adapter["name"] == name and adapter.get("sha256", "").startswith(digest) for name, digest in used)


def _with_fetch(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the command that fetches it, where it is missing and there is one."""
    name = entry["name"]
    # Without a repository on the hub, its authors offer it on a page of their own, in `source`.
    if entry["present"] or (name in COMPONENTS and COMPONENTS[name].hub_id is None):
        return entry
    entry = entry | {"fetch": fetch_command(name)}
    return entry | {"download_bytes": entry["parameters"] * _BYTES_PER_PARAMETER} if name in CHECKPOINTS else entry
