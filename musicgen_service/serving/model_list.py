"""The list of models that clients see."""

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from musicgen_service.models import listing
from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS, fetch_command
from musicgen_service.models.store import WeightStore
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.refusals import reply

_BYTES_PER_PARAMETER = 2
"""Released checkpoints are in half precision."""


class ModelList:
    """Answers `GET /models`.

    Parameters
    ----------
    metrics : say which models are in memory; None where they are off
    """

    def __init__(self, metrics: Metrics | None) -> None:
        self._metrics = metrics

    async def answer(self, request: Request) -> Response:
        """The entries of `weights list --json`, whether each is in memory, what it takes to fetch one; and adapters."""
        loaded = _loaded((await self._metrics.of_worker()).decode()) if self._metrics else set()
        return reply(200, await asyncio.to_thread(_list, loaded))


def _loaded(metrics: str) -> set[str]:
    """Names of the models that take memory, by metrics in Prometheus's text format."""
    families = text_string_to_metric_families(metrics)
    samples = [sample for family in families if family.name == "musicgen_memory_bytes" for sample in family.samples]
    return {sample.labels["model"] for sample in samples if sample.labels["part"] == "weights"}


def _list(loaded: set[str]) -> dict[str, Any]:
    store = WeightStore.from_environment()
    entries = (*map(_with_fetch, listing.folders(store)), *listing.packages())
    models = [entry | {"loaded": entry["name"] in loaded} for entry in entries]
    return {"models": models, "adapters": AdapterStore.of(store).summaries()}


def _with_fetch(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry with the command that fetches it, where it is missing and there is one."""
    name = entry["name"]
    # Without a repository on the hub, its authors offer it on a page of their own, in `source`.
    if entry["present"] or (name in COMPONENTS and COMPONENTS[name].hub_id is None):
        return entry
    entry = entry | {"fetch": fetch_command(name)}
    return entry | {"download_bytes": entry["parameters"] * _BYTES_PER_PARAMETER} if name in CHECKPOINTS else entry
