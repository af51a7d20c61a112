"""Work on audio files that a child process of the gateway does: it takes seconds, and must stop nothing else.

Every function returns an outcome instead of raising, as errors of the service cannot be sent between processes.
"""

import functools
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS

_INPUT = "input_audio"

# anyio removes it from the child where the gateway's was not read from a file, and libraries look for it.
sys.modules.setdefault("__main__", ModuleType("__main__"))


@dataclass(frozen=True)
class Outcome:
    """How a task ended.

    Attributes
    ----------
    value : the result, where there is one
    problem : otherwise a sentence
    is_invalid : whether the client is to blame
    log : the traceback of an error that is nobody's fault
    """

    value: Any = None
    problem: str | None = None
    is_invalid: bool = False
    log: str = ""


def analyse(source: str | Path) -> Outcome:
    """Fetch a recording and determine tempo, beats, key, chords and loudness.

    Parameters
    ----------
    source : an http(s) URL or a data URI, or a file of the service
    """
    return _outcome(lambda: _analyse(source))


def convert(source: Path, target: Path) -> Outcome:
    """Write a clip in another format, with its recipe.

    Parameters
    ----------
    source : a sound file that the service has written
    target : in the format of its extension
    """
    return _outcome(lambda: _convert(source, target))


def _outcome(work: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(work())
    except RequestError as error:
        return Outcome(problem=str(error), is_invalid=True)
    except Exception as error:
        from musicgen_service import client_errors

        return Outcome(problem=str(client_errors.to_client_error(error)), log=traceback.format_exc())


def _analyse(source: str | Path) -> dict[str, Any]:
    # Imported here and below: the gateway imports this module, and none of what it works with.
    from musicgen_service.analysis import report
    from musicgen_service.inputs import fetching
    from musicgen_service.inputs.decoding import decode_files

    with fetching.local_files({_INPUT: source}, FIELDS) as files:
        audio = decode_files(files, FIELDS)[_INPUT]
    if isinstance(audio, str):
        raise RequestError([f"{_INPUT} must be an http(s) URL or a data URI."])
    return report.analyse(audio, *_models()).data


@functools.cache
def _models() -> tuple[Any, Any]:
    """The tracker of beats and the recogniser of chords, loaded once in this process."""
    from musicgen_service.models import beat_tracking, chord_recognition
    from musicgen_service.models.store import WeightStore

    return beat_tracking.choose(WeightStore.from_environment()), chord_recognition.choose()


def _convert(source: Path, target: Path) -> None:
    from musicgen_service.audio import encoding, recipe

    pcm, rate = encoding.read_pcm(source)
    contents = recipe.converted(recipe.read(source), target.suffix[1:])
    bit_depth = contents.get("bit_depth", 16)
    encoding.write(encoding.to_float(pcm), rate, target, recipe.tags(contents), bit_depth)
