"""Mel spectra, equal to librosa's, whose import takes longer than most analyses that use them."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

_LINEAR_HZ = 200 / 3
"""Width of a mel up to `_CORNER_HZ`; above it, the scale is logarithmic (Slaney's scale)."""
_CORNER_HZ = 1000.0
_FACTOR = np.log(6.4) / 27
_BLOCK = 512
"""Frames transformed at a time: what they take in between is ten times as large as their magnitudes."""


def magnitudes(samples: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Compute the magnitude spectrum with a Hann window, frame by frame.

    Parameters
    ----------
    samples : float32 [..., samples], zero-padded: frame i is centred at sample `i * hop`
    window, hop : samples per frame, and between frames

    Returns
    -------
    float32 array [..., 1 + window // 2, frames]
    """
    half = window // 2
    padded = np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(half, half)])
    frames = sliding_window_view(padded, window, axis=-1)[..., ::hop, :]
    hann = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, window + 1))[:-1]
    # In the same memory order as librosa's, which determines how sums over it are rounded.
    spectrum = np.empty((*samples.shape[:-1], half + 1, frames.shape[-2]), np.float32, order="F")
    for start in range(0, frames.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        transformed = np.fft.rfft(hann * frames[..., block, :]).astype(np.complex64)
        spectrum[..., block] = np.abs(transformed).swapaxes(-1, -2)
    return spectrum


def powers(samples: np.ndarray, rate: int, window: int, hop: int, bands: int, highest: float) -> np.ndarray:
    """Compute the power per band from 0 Hz to `highest`: float32 [..., bands, frames]; see `magnitudes`, `filters`."""
    power = magnitudes(samples, window, hop) ** 2.0
    triangles = filters(rate, window, bands, 0.0, highest)
    result: np.ndarray = np.einsum("...ft,mf->...mt", power, triangles, optimize=True)
    return result


def filters(rate: int, window: int, bands: int, lowest: float, highest: float) -> np.ndarray:
    """Compute triangular filters of height 1, each overlapping its neighbours: float32 [bands, 1 + window // 2].

    Parameters
    ----------
    rate : samples per second
    window : samples of the spectrum's frames
    lowest, highest : Hz where the first filter begins and the last one ends
    """
    corners = frequencies(bands + 2, lowest, highest)
    widths = np.diff(corners)[:, None]
    distances = corners[:, None] - np.fft.rfftfreq(window, 1 / rate)
    rising, falling = -distances[:-2] / widths[:-1], distances[2:] / widths[1:]
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


def frequencies(count: int, lowest: float, highest: float) -> np.ndarray:
    """Compute frequencies in Hz that are equally spaced on the mel scale: float [count]."""
    mels = np.linspace(_to_mel(lowest), _to_mel(highest), count)
    above = mels - _CORNER_HZ / _LINEAR_HZ
    return np.where(above >= 0, _CORNER_HZ * np.exp(_FACTOR * above), _LINEAR_HZ * mels)


def _to_mel(frequency: float) -> float:
    if frequency < _CORNER_HZ:
        return frequency / _LINEAR_HZ
    return _CORNER_HZ / _LINEAR_HZ + float(np.log(frequency / _CORNER_HZ) / _FACTOR)
