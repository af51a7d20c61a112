"""Onset strength of a recording over time."""

from collections.abc import Sequence

import numpy as np

from musicgen_service.analysis import mel

HOP_SECONDS = 0.008
_WINDOW_SECONDS = 0.032
_BANDS = 80
_HIGHEST = 12_000.0
_RANGE = 1e-6
"""Power ratio (-60 dB) to the loudest sample below which sound counts as silence."""
_NEAR_HOPS = 3
"""Hops before and after an onset within which its flux appears."""


def flux(samples: np.ndarray, rate: int) -> np.ndarray:
    """Compute the spectral flux: the rise of each mel band in decibels from frame to frame, averaged over bands.

    Parameters
    ----------
    samples : float32 [channels, samples]
    rate : samples per second

    Returns
    -------
    float array, one value every `HOP_SECONDS`
    """
    mono = samples.mean(axis=0)
    return _flux(mono, rate, float(np.abs(mono).max(initial=0.0)))


def peaks(samples: np.ndarray, rate: int, places: Sequence[int]) -> np.ndarray:
    """Return the highest flux around each of the given sample positions, with frames aligned to that position."""
    hop, window = round(HOP_SECONDS * rate), round(_WINDOW_SECONDS * rate)
    reach = (_NEAR_HOPS + 1) * hop + window
    mono = np.pad(samples.mean(axis=0), reach)
    near = np.stack([mono[place : place + 2 * reach] for place in places])
    centre = reach // hop
    around = _flux(near[:, reach % hop :], rate, float(np.abs(mono).max()))
    return around[:, centre - _NEAR_HOPS : centre + _NEAR_HOPS + 1].max(axis=1)


def _flux(mono: np.ndarray, rate: int, loudest: float) -> np.ndarray:
    """Compute the flux [..., frames] of [..., samples]."""
    hop, window = round(HOP_SECONDS * rate), round(_WINDOW_SECONDS * rate)
    highest = min(rate / 2, _HIGHEST)
    power = mel.powers(mono, rate, window, hop, _BANDS, highest)
    silence = max(_RANGE * (loudest * window / 4) ** 2, 1e-12)  # the sum of a Hann window is half its length
    levels = 10 * np.log10(np.maximum(power, silence))
    return np.maximum(np.diff(levels, axis=-1, prepend=levels[..., :1]), 0).mean(axis=-2)
