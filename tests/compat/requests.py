"""Requests resolved by drop-ins, in a container with every released checkpoint."""

from typing import Any

import pytest

from musicgen_service import predictors
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest

PRESENT = [name for name in CHECKPOINTS if name != "demo"]


def resolve(system: str, present: list[str] = PRESENT, /, **inputs: Any) -> GenerationRequest:
    """Resolve a system's inputs to a request, adding a prompt if there is none."""
    return predictors.load(system).resolve({"prompt": "rock"} | inputs, present)


def problems(system: str, present: list[str] = PRESENT, /, **inputs: Any) -> list[str]:
    """The problems with a system's inputs."""
    with pytest.raises(RequestError) as refused:
        resolve(system, present, **inputs)
    return refused.value.problems
