"""The demo checkpoint in the place of every model, to try clients without any download."""

from musicgen_service import settings
from musicgen_service.progress import log

DEMO = "demo"
"""As the value of `MUSICGEN_MODELS`: the demo checkpoint replaces every model."""


def stand_in(model: str) -> str:
    """`model`, or the demo checkpoint where that replaces every model."""
    if settings.load().models != (DEMO,):
        return model
    log(f"MUSICGEN_MODELS={DEMO}: this is NOT '{model}'; the demo checkpoint plays in its place")
    return DEMO
