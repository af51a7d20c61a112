"""Adapters as models: clients of the hosted platform run what they have trained by the name and version that it got.

Whoever asks for one waits for its checksum, of hundreds of megabytes the first time: not in the event loop.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from musicgen_service import settings
from musicgen_service.models.adapters import Adapter, AdapterStore
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.serving.models import Model

_WEIGHTS = "replicate_weights"
"""The input that names an adapter."""


def named(name: str, served: Sequence[Model]) -> Model | None:
    """The model of an adapter that is called like the last part of `OWNER/NAME`; None where there is none."""
    return _model(_adapter(name.rpartition("/")[2]), name, served)


def of_version(version: str, served: Sequence[Model]) -> Model | None:
    """The model of an adapter whose weights have this SHA-256, or one that begins so; None where there is none."""
    found = (_adapter(name) for name in _store(settings.load().weights).names())
    return _model(next((one for one in found if one and one.sha256.startswith(version)), None), "", served)


@cache
def _store(root: Path) -> AdapterStore:
    """The adapters of a weights folder; one object, as it remembers checksums."""
    return AdapterStore.of(WeightStore(root))


def _adapter(name: str) -> Adapter | None:
    """The adapter of that name; None where there is none, or it is damaged, which is told where it is used."""
    try:
        return _store(settings.load().weights).get(name)
    except WeightsError:
        return None


def _model(adapter: Adapter | None, name: str, served: Sequence[Model]) -> Model | None:
    takes = [model for model in served if model.schema and _WEIGHTS in _inputs(model)]
    if adapter is None or not takes:
        return None
    preset = {_WEIGHTS: adapter.name}
    return replace(takes[0], name=name or f"adapters/{adapter.name}", versions=(adapter.sha256,), preset=preset)


def _inputs(model: Model) -> Sequence[str]:
    assert model.schema is not None
    return list(model.schema["components"]["schemas"]["Input"]["properties"])
