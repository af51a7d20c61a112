"""Resolve requests for tests, or return their problems."""

from typing import Any

import pytest

from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest

PRESENT = ["small", "stereo-melody", "demo"]


def resolve(**inputs: Any) -> GenerationRequest:
    return GenerationRequest.from_inputs(inputs, PRESENT)


def problems(**inputs: Any) -> list[str]:
    with pytest.raises(RequestError) as refused:
        resolve(**inputs)
    return refused.value.problems
