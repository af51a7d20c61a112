"""MusicGen as a service and a Python API: `load("demo").generate("lofi piano, 90 bpm").save("clip.wav")`."""

from typing import TYPE_CHECKING, Any

from musicgen_service.threads import limit_numpy, set_wait_policy

if TYPE_CHECKING:
    from musicgen_service.api import AudioError, FinishedClip, MusicGen, RequestError, WeightsError, load

__all__ = ["AudioError", "FinishedClip", "MusicGen", "RequestError", "WeightsError", "load"]
__version__ = "0.1.0"

# Every entry point imports this module, usually before torch and numpy, which read the variables when they are loaded.
set_wait_policy()
limit_numpy()


def __getattr__(name: str) -> Any:
    # Imported lazily: it takes seconds, which users of a single module should not wait for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from musicgen_service import api

    return getattr(api, name)
