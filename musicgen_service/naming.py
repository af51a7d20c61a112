"""What the files of a request are called."""

from musicgen_service.requests.request import GenerationRequest

STEMS = ("backing", "vocals")
"""The parts of a remix that `return_stems` asks for."""


def label(number: int, part: str = "") -> str:
    """What tells the clips of one request apart: the number among its variations, and the part of a remix."""
    # An underscore sorts after the full stop, so that a clip comes before its parts.
    return f"{number:02d}_{part}" if part else f"{number:02d}"


def file_name(request: GenerationRequest, label: str) -> str:
    """The service's own name of a clip."""
    return f"{request.task}-{request.seed}-{label}.{request.output_format}"


def labels(request: GenerationRequest) -> list[str]:
    """The labels of all the files that a request may bring; a variation of a loop may be left out of them."""
    parts = ("", *STEMS) if request.return_stems else ("",)
    return [label(number, part) for number in range(1, request.variations + 1) for part in parts]
