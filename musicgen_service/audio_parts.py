"""The parts of a client's recordings that a request uses."""

from musicgen_service.audio.reading import Audio
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest


def of_input(request: GenerationRequest) -> Audio | None:
    """Return the part of the client's audio to use."""
    if request.input_audio is None:
        return None
    if request.spec.repaints:
        return request.input_audio.unchanged
    audio = _part(request, "input_audio", request.input_audio)
    if audio.is_silent and request.spec.needs_melody:
        raise RequestError([f"input_audio is silent where task '{request.task}' needs it to be heard."])
    return audio


def of_chords(request: GenerationRequest) -> Audio | None:
    """Return the recording whose chords are asked for."""
    if request.audio_chords is None:
        return None
    audio: Audio = request.audio_chords
    if request.spec.needs_chords:
        audio = _part(request, "audio_chords", audio)
    if audio.is_silent:
        raise RequestError(["audio_chords is silent: it needs to have chords."])
    return audio


def size(request: GenerationRequest) -> int:
    """Return the bytes of the client's recordings in memory, of which parts are views."""
    recordings = (request.input_audio, request.audio_chords)
    return sum(recording.samples.nbytes for recording in recordings if recording is not None)


def _part(request: GenerationRequest, name: str, audio: Audio) -> Audio:
    """Return the part of a client's recording that is asked for."""
    part = audio.slice(request.continuation_start, request.continuation_end)
    if not part.samples.shape[1]:
        span = f"from {request.continuation_start:.7g} s to {request.continuation_end:.7g} s"
        raise RequestError([f"The part of {name} {span} is shorter than a sample: raise continuation_end."])
    return part
