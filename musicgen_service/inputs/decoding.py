"""A client's files become sound once, before anything looks at them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_service.audio import reading
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import Field


def decoded(inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """The inputs with an `AudioInput` in the place of every local file; one that is decoded already stays.

    Raises
    ------
    RequestError
        When a file cannot be used as audio.
    """
    found = dict(inputs)
    for name, value in inputs.items():
        if name in fields and fields[name].kind is Path and isinstance(value, os.PathLike):
            try:
                found[name] = reading.read_input(Path(value))
            except reading.AudioError as error:
                raise RequestError([f"{name} cannot be used: {error}"]) from None
    return found
