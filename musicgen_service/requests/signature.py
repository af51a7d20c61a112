"""Fields from the signature of a predictor's `run`: the source of its schema, its checks and its help."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import cog

from musicgen_service.requests.fields import Field


def declared_fields(run: Callable[..., Any]) -> dict[str, Field]:
    """Return the fields that the parameters of a `run` method declare."""
    hints = get_type_hints(run)
    fields = {}
    for name, parameter in list(inspect.signature(run).parameters.items())[1:]:
        [kind] = set(get_args(hints[name]) or (hints[name],)) - {type(None)}
        entry = parameter.default
        kind = Path if kind is cog.Path else kind
        choices = tuple(entry.choices) if entry.choices else None
        fields[name] = Field(kind, entry.default, entry.ge, entry.le, choices, entry.description)
    return fields
