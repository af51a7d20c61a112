"""The service in process, for the fault tests."""

from pathlib import Path
from typing import Any

from musicgen_service.folders import MARK
from musicgen_service.requests.fields import FIELDS
from musicgen_service.serving.cog_runner import ServiceRunner

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5}


class Predictor(ServiceRunner):
    """The service as a Cog runner, without declared inputs."""


def run(predictor: Predictor, **inputs: Any) -> list[Path]:
    defaults = {name: field.default for name, field in FIELDS.items()}
    return list(predictor.carry_out({"self": predictor} | defaults | SHORT | inputs, {}))


def files_of(predictor: Predictor) -> set[Path]:
    own = predictor.service._outputs._own
    files = own.path.rglob("*") if own is not None else []
    return {file for file in files if file.is_file() and file.name != MARK}
