"""What a client is told when something breaks: one sentence, without the insides of the service."""

import errno
import re

import torch

from musicgen_service.audio.encoding import EncodingError
from musicgen_service.audio.reading import AudioError
from musicgen_service.models.store import WeightsError
from musicgen_service.request import RequestError
from musicgen_service.settings import SettingsError

_SPOKEN = (RequestError, AudioError, EncodingError, WeightsError, SettingsError)
"""Errors whose own message is written for a client."""
_FOLDERS = re.compile(
    r"""
    (?<![\w./<\])+-])               # not in the midst of a word, a relative path or an http address
    (?:file:(?://[^/\s'"]*)?)?
    /(?=[\w.~@%])
    (?:(?:(?!\.[a-z]\w*\s)[^/'":;,()\n])+/)*  # folders may have spaces; after a name with an extension prose goes on
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Of an absolute path or a `file:` URL all but the last name."""


class ServiceError(RuntimeError):
    """A request failed for a reason that is not the client's; the message says what may help."""


def explained(error: Exception) -> Exception:
    """The error to answer with: the same when it speaks to clients and names no path, else one that does."""
    if isinstance(error, RequestError):
        return error
    if is_out_of_memory(error):
        return ServiceError("There was not enough memory: ask for fewer variations, a shorter clip or a smaller model.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return ServiceError("The service has no room left to write files: try again later.")
    if isinstance(error, _SPOKEN):
        return ServiceError(_FOLDERS.sub("", str(error)))
    return ServiceError(f"Something went wrong inside the service ({type(error).__name__}); its log says more.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or off it."""
    # torch has no class of its own for a CPU's memory.
    on_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return on_cpu or isinstance(error, (torch.OutOfMemoryError, MemoryError))
