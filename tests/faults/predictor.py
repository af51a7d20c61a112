"""The service in process, as the tests of its faults use it."""

from pathlib import Path
from typing import Any

from musicgen_service.folders import MARK
from musicgen_service.requests.fields import FIELDS
from musicgen_service.serving.cog_runner import ServiceRunner

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5}


class Predictor(ServiceRunner):
    """The service as Cog sees it, without what Cog declares."""

    def record_metric(self, *_arguments: Any, **_options: Any) -> None:
        """Outside a prediction there is nobody to tell."""


def run(predictor: Predictor, **inputs: Any) -> list[Path]:
    defaults = {name: field.default for name, field in FIELDS.items()}
    return predictor.run_request({"self": predictor} | defaults | SHORT | inputs)


def files_of(predictor: Predictor) -> set[Path]:
    own = predictor.service._outputs._own
    files = own.path.rglob("*") if own is not None else []
    return {file for file in files if file.is_file() and file.name != MARK}
