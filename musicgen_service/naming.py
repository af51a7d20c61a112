"""Names of the files of a request."""

from musicgen_service.requests.request import GenerationRequest

MIDI = "mid"
"""The extension of MIDI files."""
STEMS = ("backing", "vocals")
"""The stems of a remix that `return_stems` adds."""


def label(number: int, part: str = "") -> str:
    """A label unique within a request: the number of the variation, and the part of a remix."""
    # An underscore sorts after the full stop, so that a clip comes before its parts.
    return f"{number:02d}_{part}" if part else f"{number:02d}"


def file_name(request: GenerationRequest, label: str) -> str:
    """The service's file name for a clip."""
    return f"{request.task}-{request.seed}-{label}.{request.output_format}"


def midi_name(clip: str) -> str:
    """The name of the MIDI file beside a clip, given the clip's."""
    return f"{clip.rpartition('.')[0]}.{MIDI}"


def file_names(request: GenerationRequest) -> list[str]:
    """The names of all files that a request may produce; variations of a loop may be missing."""
    names = []
    for number in range(1, request.variations + 1):
        names.append(file_name(request, label(number)))
        if request.return_midi:
            names.append(midi_name(names[-1]))
        if request.return_stems:
            names += [file_name(request, label(number, part)) for part in STEMS]
    return names
