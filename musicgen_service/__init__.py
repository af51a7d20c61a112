"""MusicGen as one service, and in Python: `load("demo").generate("lofi piano, 90 bpm").save("clip.wav")`."""

from typing import TYPE_CHECKING, Any

from musicgen_service.threads import set_wait_policy

if TYPE_CHECKING:
    from musicgen_service.api import AudioError, FinishedClip, MusicGen, RequestError, WeightsError, load

__all__ = ["AudioError", "FinishedClip", "MusicGen", "RequestError", "WeightsError", "load"]
__version__ = "0.1.0"

# Every way in comes through here, and mostly before torch is loaded, which is when OpenMP reads it.
set_wait_policy()


def __getattr__(name: str) -> Any:
    # Imported when asked for: it takes seconds, which what needs a single module should not wait for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from musicgen_service import api

    return getattr(api, name)
