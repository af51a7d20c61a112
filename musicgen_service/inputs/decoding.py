"""Decoding of a client's audio files, once per request, before validation."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_service.audio import reading
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import Field


def decode_files(inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """Return the inputs with every local file decoded to an `AudioInput`; one that is decoded already stays.

    Raises
    ------
    RequestError
        When a file cannot be used as audio.
    """
    values = dict(inputs)
    for name, value in inputs.items():
        if name in fields and fields[name].kind is Path and isinstance(value, os.PathLike):
            try:
                values[name] = reading.read_input(Path(value))
            except reading.AudioError as error:
                raise RequestError([f"{name} cannot be used: {error}"]) from None
    return values
