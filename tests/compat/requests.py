"""Requests that drop-ins make of their inputs, in a container that has every released checkpoint."""

from typing import Any

import pytest

from musicgen_service import predictors
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest

PRESENT = [name for name in CHECKPOINTS if name != "demo"]


def settled(system: str, present: list[str] = PRESENT, /, **inputs: Any) -> GenerationRequest:
    """What a system's inputs, with a prompt if they have none, amount to."""
    return predictors.load(system).resolve({"prompt": "rock"} | inputs, present)


def problems(system: str, present: list[str] = PRESENT, /, **inputs: Any) -> list[str]:
    """What is wrong with a system's inputs."""
    with pytest.raises(RequestError) as refused:
        settled(system, present, **inputs)
    return refused.value.problems
