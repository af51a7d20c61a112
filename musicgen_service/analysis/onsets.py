"""How strongly something new sets in, at each moment of a recording."""

import librosa
import numpy as np

HOP_SECONDS = 0.008
_WINDOW_SECONDS = 0.032
_BANDS = 80
_NEAR = 0.024
"""Seconds before and after a moment in which the flux of what sets in there shows."""


def flux(samples: np.ndarray, rate: int) -> np.ndarray:
    """Spectral flux: by how many decibels each mel band grows from frame to frame, on average over bands.

    Parameters
    ----------
    samples : float32 [channels, samples]
    rate : samples per second

    Returns
    -------
    float array, one value every `HOP_SECONDS`
    """
    hop = round(HOP_SECONDS * rate)
    window = round(_WINDOW_SECONDS * rate)
    spectrum = librosa.feature.melspectrogram(
        y=samples.mean(axis=0), sr=rate, hop_length=hop, n_fft=window, n_mels=_BANDS, fmax=min(rate / 2, 12_000)
    )
    levels = librosa.power_to_db(spectrum, ref=np.max, top_db=60)
    return np.maximum(np.diff(levels, axis=1, prepend=levels[:, :1]), 0).mean(axis=0)


def peak(envelope: np.ndarray, seconds: float | np.ndarray) -> np.ndarray:
    """The highest flux around each of the given moments of an envelope made by `flux`."""
    reach = round(_NEAR / HOP_SECONDS)
    frames = np.round(np.atleast_1d(seconds) / HOP_SECONDS).astype(int)
    near = np.clip(frames[:, None] + np.arange(-reach, reach + 1), 0, len(envelope) - 1)
    return envelope[near].max(axis=1)
