"""Names of the files of a request."""

from musicgen_service.requests.request import GenerationRequest

STEMS = ("backing", "vocals")
"""The stems of a remix that `return_stems` adds."""


def label(number: int, part: str = "") -> str:
    """A label unique within a request: the number of the variation, and the part of a remix."""
    # An underscore sorts after the full stop, so that a clip comes before its parts.
    return f"{number:02d}_{part}" if part else f"{number:02d}"


def file_name(request: GenerationRequest, label: str) -> str:
    """The service's file name for a clip."""
    return f"{request.task}-{request.seed}-{label}.{request.output_format}"


def labels(request: GenerationRequest) -> list[str]:
    """The labels of all files that a request may produce; variations of a loop may be missing."""
    parts = ("", *STEMS) if request.return_stems else ("",)
    return [label(number, part) for number in range(1, request.variations + 1) for part in parts]
