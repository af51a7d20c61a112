"""How strongly something new sets in, at each moment of a recording."""

from collections.abc import Sequence

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


def peak(samples: np.ndarray, rate: int, places: Sequence[int]) -> np.ndarray:
    """The highest flux around each of the given sample positions, always framed alike."""
    hop, reach = round(HOP_SECONDS * rate), round(_NEAR / HOP_SECONDS)
    peaks = []
    for place in places:
        envelope = flux(samples[:, place % hop :], rate)
        frame = place // hop
        peaks.append(envelope[max(0, frame - reach) : frame + reach + 1].max(initial=0.0))
    return np.array(peaks)
