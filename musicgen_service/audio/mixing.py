"""Putting a voice in front of a new backing."""

from dataclasses import dataclass

import numpy as np
import scipy  # its parts load when they are first used

from musicgen_service.audio import loudness

_CEILING = loudness.amplitude(loudness.PEAK_DB)
_LOOK_AHEAD = 0.01
"""Seconds over which the limiter turns down before a peak, and up after it."""
_HEARD_LU = 35.0
"""Vocals this much quieter than the rest are what a separator leaves where nobody sings."""


@dataclass(frozen=True)
class Mix:
    """A mix and its two parts at the level they have in it: float32 arrays [channels, samples] below -1 dB."""

    whole: np.ndarray
    backing: np.ndarray
    vocals: np.ndarray


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """A clip [channels, samples] cut to a length, or filled up with silence."""
    return np.pad(samples[:, :length], [(0, 0), (0, max(0, length - samples.shape[1]))])


def is_heard(voice: np.ndarray, rest: np.ndarray, rate: int) -> bool:
    """Whether there are vocals, and not only what a separator leaves of the rest."""
    level = loudness.integrated_loudness(voice, rate)
    return bool(np.isfinite(level) and level > loudness.integrated_loudness(rest, rate) - _HEARD_LU)


def mix(backing: np.ndarray, vocals: np.ndarray, replaced: np.ndarray, rate: int, strategy: str) -> Mix:
    """Put vocals in front of a backing that is as loud as what it replaces.

    Parameters
    ----------
    backing, vocals, replaced : float32 arrays [channels, samples] of the same shape
    rate : samples per second
    strategy : of `loudness.normalise`, for the mix; a limiter keeps it below -1 dB where that would clip it
    """
    backing = backing * np.float32(_gain(backing, replaced, vocals, rate))
    plain = backing + vocals
    whole = loudness.normalise(plain, rate, strategy, limit)
    before, after = (loudness.integrated_loudness(sound, rate) for sound in (plain, whole))
    gain = np.float32(loudness.amplitude(after - before)) if np.isfinite(after - before) else np.float32(1)
    return Mix(whole, limit(backing * gain, rate), limit(vocals * gain, rate))


def limit(samples: np.ndarray, rate: int) -> np.ndarray:
    """Turn a clip [channels, samples] down, smoothly and in all channels alike, where it exceeds -1 dB."""
    peaks = np.abs(samples).max(axis=0)
    if peaks.max(initial=0.0) <= _CEILING:
        return samples
    needed = np.minimum(1.0, _CEILING / np.maximum(peaks, _CEILING))
    reach = round(_LOOK_AHEAD * rate) | 1
    # Each value of the moving average lies below every needed gain within reach, so no peak gets through.
    gain = scipy.ndimage.uniform_filter1d(scipy.ndimage.minimum_filter1d(needed, reach), reach)
    return (samples * gain).astype(np.float32)


def _gain(backing: np.ndarray, replaced: np.ndarray, vocals: np.ndarray, rate: int) -> float:
    """What makes the backing as loud as what it replaces; as the vocals, where they were alone."""
    own = loudness.integrated_loudness(backing, rate)
    for sound in (replaced, vocals):
        wanted = loudness.integrated_loudness(sound, rate)
        if np.isfinite(own) and np.isfinite(wanted):
            return loudness.amplitude(wanted - own)
    return 1.0
