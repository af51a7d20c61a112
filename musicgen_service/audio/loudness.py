"""The four normalisation strategies of the reference systems.

Sources: ITU-R BS.1770-4 for loudness (measured by pyloudnorm); audiocraft's `normalize_audio` for
what each strategy means.
"""

from collections.abc import Callable

import numpy as np
import pyloudnorm

TARGET_LUFS = -14.0
PEAK_DB = -1.0
RMS_DB = -18.0
SILENCE_RMS = 2e-3
"""Below this a clip is left as it is: raising it to full loudness would only raise noise."""

_TOLERANCE_LU = 0.02
_MAX_ROUNDS = 12
_MAX_CORRECTION_DB = 12.0
"""A clip that clamping leaves quieter than this could make up for is more noise than music: it stays quieter."""


def clamp(samples: np.ndarray, _rate: int) -> np.ndarray:
    """Cut off what exceeds ±1."""
    return np.clip(samples, -1.0, 1.0)


Bound = Callable[[np.ndarray, int], np.ndarray]
"""Keeps samples [channels, samples] at a rate within ±1."""


def normalise(samples: np.ndarray, rate: int, strategy: str, bound: Bound = clamp) -> np.ndarray:
    """Bring a clip to a common level.

    Parameters
    ----------
    samples : float32 array [channels, samples]
    rate : samples per second
    strategy : `loudness` (-14 LUFS), `peak` (-1 dBFS), `rms` (-18 dBFS of the mono mix) or `clip`
        (only limit to -1 dBFS)
    bound : what happens to peaks that `loudness` or `rms` would raise beyond ±1

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


def integrated_loudness(samples: np.ndarray, rate: int) -> float:
    """Loudness of a clip [channels, samples] in LUFS; minus infinity for silence."""
    # The standard's gating block is 0.4 s; a shorter clip is measured as one block of its own length.
    block = min(0.4, samples.shape[1] / rate)
    meter = pyloudnorm.Meter(rate, block_size=block)
    return float(meter.integrated_loudness(samples.T.astype(np.float64)))


def to_loudness(samples: np.ndarray, rate: int, target: float = TARGET_LUFS, bound: Bound = clamp) -> np.ndarray:
    """Bring a clip [channels, samples] to a loudness in LUFS, within ±1; one that is silent stays so."""
    measured = integrated_loudness(samples, rate)
    if _rms(samples) < SILENCE_RMS or not np.isfinite(measured) or not np.isfinite(target):
        return bound(samples, rate)
    gain_db = wanted_db = target - measured
    result = bound(samples * np.float32(amplitude(gain_db)), rate)
    for _ in range(_MAX_ROUNDS):
        # Clamping takes some loudness away again, so the gain is raised until what is left measures right.
        error = target - integrated_loudness(result, rate)
        if abs(error) <= _TOLERANCE_LU or gain_db >= wanted_db + _MAX_CORRECTION_DB:
            break
        gain_db = min(gain_db + error, wanted_db + _MAX_CORRECTION_DB)
        result = bound(samples * np.float32(amplitude(gain_db)), rate)
    return result


def _rms(samples: np.ndarray) -> float:
    """Root mean square of the mono mix."""
    return float(np.sqrt(np.mean(np.square(samples.mean(axis=0)), dtype=np.float64)))


def amplitude(decibels: float) -> float:
    """The factor that so many decibels are."""
    return float(10.0 ** (decibels / 20.0))
