"""The level of new music beside the recording that it is joined to."""

import numpy as np

from musicgen_service.audio import loudness
from musicgen_service.audio.lufs import integrated_loudness

COMPARED_SECONDS = 4.0
"""Seconds next to the new music over which the levels of the recording and the codec's version are compared."""
_MAX_GAIN_DB = 12.0
"""Maximum change of the new music's level, in either direction."""


def ratio(recorded: np.ndarray, decoded: np.ndarray, rate: int) -> np.float32:
    """Return the factor that brings the codec's version of a recording, and so the new music, to its level.

    A codec may return what it was not trained on several decibels quieter.

    Parameters
    ----------
    recorded, decoded : the same sound [channels, samples], as recorded and from the codec
    rate : samples per second
    """
    levels = [integrated_loudness(sound, rate) for sound in (recorded, decoded) if sound.size]
    if len(levels) < 2 or not np.isfinite(levels).all():
        return np.float32(1.0)
    return np.float32(loudness.amplitude(float(np.clip(levels[0] - levels[1], -_MAX_GAIN_DB, _MAX_GAIN_DB))))
