"""Where kicks, or other low notes, begin."""

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from musicgen_service.analysis import peaks

_RATE = 4000
_WINDOW, _HOP = 128, 8  # samples: 32 and 2 ms
_LAG = 10  # frames between those whose difference is taken
_BINS = 512  # of the spectrum, padded
_BAND = (25.0, 180.0)  # Hz: below 160, with the width of the window
_COMPRESSION = 100.0
_LEAST = 0.25  # of the strongest rise, which a beginning has
_APART = 40  # frames (80 ms) between beginnings
_BLOCK = 4096  # frames transformed at once: all spectra together are large


def beginnings(samples: np.ndarray, rate: int) -> NDArray[np.float64]:
    """Find where sound below 160 Hz sets in, in seconds, ascending.

    Parameters
    ----------
    samples : float32 ``[channels, samples]``
    rate : samples per second
    """
    before = 2 * _WINDOW  # silence, so that a kick on the first sample is a rise too
    low = np.pad(soxr.resample(samples.mean(axis=0), rate, _RATE), before)
    spectrum = _low_spectrum(low)
    if not spectrum.any():
        return np.zeros(0)
    loudness = np.log1p(_COMPRESSION * spectrum / spectrum.max())
    rises = np.maximum(loudness[_LAG:] - loudness[:-_LAG], 0).sum(axis=1)
    found = peaks.find(rises, _LEAST * rises.max(), _APART)
    # The rise is steepest when the beginning is in the middle between the two windows.
    return np.maximum((found + _LAG / 2) * _HOP + _WINDOW / 2 - before, 0) / _RATE


def _low_spectrum(low: NDArray[np.float32]) -> NDArray[np.float64]:
    """Magnitudes in the band, ``[frames, bins]``, of ``[samples]`` at the rate of the analysis."""
    frequencies = np.fft.rfftfreq(_BINS, 1 / _RATE)
    band = (frequencies >= _BAND[0]) & (frequencies <= _BAND[1])
    frames, window = sliding_window_view(low, _WINDOW)[::_HOP], np.hanning(_WINDOW).astype(np.float32)
    blocks = (frames[first : first + _BLOCK] * window for first in range(0, len(frames), _BLOCK))
    return np.concatenate([np.abs(np.fft.rfft(block, _BINS)[:, band]) for block in blocks])
