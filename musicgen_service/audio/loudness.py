"""The four normalisation strategies of the reference systems.

Sources: ITU-R BS.1770-4 for loudness; audiocraft's `normalize_audio` for the definition of each strategy.
"""

from collections.abc import Callable

import numpy as np

from musicgen_service.audio.lufs import integrated_loudness

TARGET_LUFS = -14.0
PEAK_DB = -1.0
RMS_DB = -18.0
SILENCE_RMS = 2e-3
"""A clip below this is not normalised, which would only amplify noise."""

_TOLERANCE_LU = 0.02
_MAX_ROUNDS = 12
_MAX_CORRECTION_DB = 12.0
"""Maximum extra gain to compensate for clamping; a clip that needs more is mostly noise and stays quieter."""


def clamp(samples: np.ndarray, _rate: int) -> np.ndarray:
    """Clamp samples to ±1."""
    return np.clip(samples, -1.0, 1.0)


Bound = Callable[[np.ndarray, int], np.ndarray]
"""Limits samples [channels, samples] at a rate to ±1."""


def normalise(samples: np.ndarray, rate: int, strategy: str, bound: Bound = clamp) -> np.ndarray:
    """Bring a clip to a common level.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate : samples per second
    strategy : `loudness` (-14 LUFS), `peak` (-1 dBFS), `rms` (-18 dBFS of the mono mix) or `clip`
        (only limit to -1 dBFS)
    bound : applied to peaks that `loudness` or `rms` would raise beyond ±1

    Returns
    -------
    float32 array of the same shape within ±1
    """
    ceiling = amplitude(PEAK_DB)
    if strategy == "clip":
        return np.clip(samples, -ceiling, ceiling)
    if strategy == "peak":
        peak = float(np.abs(samples).max(initial=0.0))
        gain = ceiling / peak if peak > 0 else 1.0
        return samples * np.float32(gain)
    if strategy == "rms":
        rms = _rms(samples)
        gain = amplitude(RMS_DB) / rms if rms > 0 else 1.0
        return bound(samples * np.float32(gain), rate)
    return to_loudness(samples, rate, bound=bound)


def to_loudness(samples: np.ndarray, rate: int, target: float = TARGET_LUFS, bound: Bound = clamp) -> np.ndarray:
    """Bring a clip [channels, samples] to a loudness in LUFS, within ±1; a silent clip stays silent."""
    measured = integrated_loudness(samples, rate)
    if _rms(samples) < SILENCE_RMS or not np.isfinite(measured) or not np.isfinite(target):
        return bound(samples, rate)
    gain_db = nominal_db = target - measured
    result = bound(samples * np.float32(amplitude(gain_db)), rate)
    for _ in range(_MAX_ROUNDS):
        # Clamping reduces the loudness, so the gain is raised until the result has the target loudness.
        error = target - integrated_loudness(result, rate)
        if abs(error) <= _TOLERANCE_LU or gain_db >= nominal_db + _MAX_CORRECTION_DB:
            break
        gain_db = min(gain_db + error, nominal_db + _MAX_CORRECTION_DB)
        result = bound(samples * np.float32(amplitude(gain_db)), rate)
    return result


def _rms(samples: np.ndarray) -> float:
    """Root mean square of the mono mix."""
    return float(np.sqrt(np.mean(np.square(samples.mean(axis=0)), dtype=np.float64)))


def amplitude(decibels: float) -> float:
    """Convert decibels to an amplitude factor."""
    return float(10.0 ** (decibels / 20.0))
