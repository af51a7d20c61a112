"""Mixing vocals with a new backing."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy  # submodules are imported on first use

from musicgen_service.audio import encoding, loudness
from musicgen_service.audio.lufs import integrated_loudness

_CEILING = loudness.amplitude(loudness.PEAK_DB)
_LOOK_AHEAD = 0.01
"""Seconds over which the limiter reduces the gain before a peak and restores it afterwards."""
# Measured with Spleeter on the recordings in tests/data/real, and on mixes of their voices and music.
_VOCALS_DB = -5.0
"""Level beside the rest that vocals have somewhere. What Spleeter leaves of instruments reaches -6.2 dB at most, though
its loudness may be 6 LU below theirs; a voice that is sung or spoken 8 dB below the music reaches -2 dB at least."""
_VOCALS_SECONDS = 0.4
_AUDIBLE_DB = 30.0
"""Below the loudest part of a song, from which on nothing is compared."""
_SILENT_DB = -100.0
_RESIDUE_LU = 19.0
"""Music this much quieter than the vocals is residue of a voice alone, which is 20.7 LU quieter at least; of music
14 dB below a voice, 17.6 LU are left at most."""


@dataclass(frozen=True)
class Mix:
    """A mix and its two parts at their level in the mix: float32 arrays [channels, samples] below -1 dB."""

    full: np.ndarray
    backing: np.ndarray
    vocals: np.ndarray


def fit_length(samples: np.ndarray, length: int) -> np.ndarray:
    """Cut a clip [channels, samples] to a length, or pad it with silence."""
    return np.pad(samples[:, :length], [(0, 0), (0, max(0, length - samples.shape[1]))])


def has_vocals(vocals: np.ndarray, rest: np.ndarray, rate: int) -> bool:
    """Whether separated vocals contain more than the separator's residue of the rest."""
    above, below = (_levels(part, rate) for part in (vocals, rest))
    total = np.maximum(above, below)
    audible = (total > total.max() - _AUDIBLE_DB) & (above > _SILENT_DB + 1)
    return bool((above - below)[audible].max(initial=-np.inf) > _VOCALS_DB)


def mix(backing: np.ndarray, vocals: np.ndarray, replaced: np.ndarray, rate: int, strategy: str) -> Mix:
    """Mix vocals with a backing, which is brought to the loudness of what it replaces.

    Parameters
    ----------
    backing, vocals, replaced : float32 arrays [channels, samples] of the same shape
    rate : samples per second
    strategy : of `loudness.normalise`, for the mix; a limiter keeps peaks below -1 dB
    """
    backing = backing * np.float32(_gain(backing, replaced, vocals, rate))
    total = backing + vocals
    full = loudness.normalise(total, rate, strategy, limit)
    before, after = (integrated_loudness(sound, rate) for sound in (total, full))
    gain = np.float32(loudness.amplitude(after - before)) if np.isfinite(after - before) else np.float32(1)
    return Mix(full, limit(backing * gain, rate), limit(vocals * gain, rate))


def complete(whole: np.ndarray, stems: Mapping[str, np.ndarray], rest: str, bit_depth: int) -> dict[str, np.ndarray]:
    """Make the stems of a clip add up to it, as they are stored: what the others leave is the stem `rest`.

    Parameters
    ----------
    whole : float32 array [channels, samples] within ±1
    stems : by name, arrays of its shape
    rest : the name of one of them
    bit_depth : of the files; see `encoding.quantised`

    Returns
    -------
    Each within ±1, and together the clip to within half a step of its samples
    """
    left = encoding.stored(whole, bit_depth)
    completed = {}
    for name, stem in stems.items():
        if name != rest:
            # No more than the rest, which may not exceed full scale either, can make up for.
            bounded = np.clip(stem, np.maximum(-1, left - 1), np.minimum(1, left + 1))
            completed[name] = encoding.stored(bounded, bit_depth)
            left = left - completed[name]
    completed[rest] = encoding.stored(left, bit_depth)
    return {name: completed[name] for name in stems}


def limit(samples: np.ndarray, rate: int) -> np.ndarray:
    """Limit a clip [channels, samples] to -1 dB, with the same smooth gain in all channels."""
    peaks = np.abs(samples).max(axis=0)
    if peaks.max(initial=0.0) <= _CEILING:
        return samples
    needed = np.minimum(1.0, _CEILING / np.maximum(peaks, _CEILING))
    reach = round(_LOOK_AHEAD * rate) | 1
    # Each value of the moving average is below every needed gain within reach, so no peak exceeds the limit.
    gain = scipy.ndimage.uniform_filter1d(scipy.ndimage.minimum_filter1d(needed, reach), reach)
    return (samples * gain).astype(np.float32)


def _levels(samples: np.ndarray, rate: int) -> np.ndarray:
    """RMS in dB of consecutive parts of a clip [channels, samples], `_SILENT_DB` at least."""
    power = np.square(samples).sum(axis=0) / len(samples)
    starts = np.arange(0, len(power), round(_VOCALS_SECONDS * rate))
    lengths = np.diff(starts, append=len(power))
    levels = 10 * np.log10(np.add.reduceat(power, starts, dtype=np.float64) / lengths + 10 ** (_SILENT_DB / 10))
    return np.asarray(levels)


def _gain(backing: np.ndarray, replaced: np.ndarray, vocals: np.ndarray, rate: int) -> float:
    """Gain that makes the backing as loud as what it replaces, or as the vocals where those were alone."""
    own, band, voice = (integrated_loudness(sound, rate) for sound in (backing, replaced, vocals))
    target = band if band > voice - _RESIDUE_LU else voice
    return loudness.amplitude(target - own) if np.isfinite(own) and np.isfinite(target) else 1.0
