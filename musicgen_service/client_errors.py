"""Converts errors to client errors: one sentence, without internals of the service."""

from musicgen_service import folders
from musicgen_service.audio.encoding import EncodingError
from musicgen_service.audio.reading import AudioError
from musicgen_service.models.store import WeightsError
from musicgen_service.redaction import without_folders
from musicgen_service.requests.errors import RequestError
from musicgen_service.settings import SettingsError

CLIENT_SAFE_ERRORS = (RequestError, AudioError, EncodingError, WeightsError, SettingsError)
"""Errors whose own message is written for a client."""


class ServiceError(RuntimeError):
    """A request failed through no fault of the client; the message suggests a remedy."""

    __qualname__ = "Service error"  # Cog starts its error messages to clients with it


def to_client_error(error: Exception) -> Exception:
    """Return the error to send to the client: one sentence without paths."""
    if isinstance(error, RequestError):
        return error
    if is_out_of_memory(error):
        return ServiceError("There was not enough memory: ask for fewer variations, a shorter clip or a smaller model.")
    if isinstance(error, (OSError, EncodingError)) and (problem := _file_system_problem(error)):
        return ServiceError(problem)
    if isinstance(error, CLIENT_SAFE_ERRORS):
        return ServiceError(without_folders(str(error)))
    return ServiceError("Something went wrong inside the service; its log says more.")


def _file_system_problem(error: Exception) -> str | None:
    """The reason why files cannot be written, if that caused the error; otherwise None."""
    cause = error if isinstance(error, OSError) else error.__cause__
    if isinstance(cause, OSError) and folders.is_out_of_space(cause):
        # The request's files have been removed already, so there may be space again.
        return folders.problem() or folders.FULL
    return folders.problem()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or off it."""
    # Imported here: commands that need no torch use this module too.
    import torch

    # torch has no exception class for CPU memory.
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return on_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))
