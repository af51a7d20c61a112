"""Constant-Q transform (Schörkhuber & Klapuri, SMC 2010), equal to librosa's, whose import takes longer than it does.

An octave is read by the same filters as the one above it, from audio of half the rate.
"""

import numpy as np
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_HANN_BANDWIDTH = 1.50018310546875
"""Equivalent noise bandwidth of a Hann window, in bins."""
_DROPPED = 0.01
"""Share of each filter's magnitudes, the smallest ones of its spectrum, that are taken to be 0."""

Array = NDArray[np.float32]


def magnitudes(
    samples: Array, rate: int, hop: int, lowest: float, octaves: int, per_octave: int, filter_scale: float = 1.0
) -> Array:
    """Compute the magnitudes of equally spaced pitches.

    Parameters
    ----------
    samples : ``[samples]``, zero-padded: frame i is centred at sample `i * hop`
    rate : samples per second, more than twice the highest pitch
    hop : samples between frames, a multiple of ``2 ** octaves``
    lowest : Hz of the lowest pitch
    octaves, per_octave : number of octaves, and of pitches in each
    filter_scale : length of the filters, in the periods that just separate neighbouring pitches

    Returns
    -------
    ``[octaves * per_octave, frames]``, from the lowest pitch up, of filters of equal energy
    """
    step = 2 ** (2 / per_octave)
    quality = filter_scale * (step + 1) / (step - 1)
    pitches = lowest * 2 ** (octaves - 1 + np.arange(per_octave) / per_octave)  # of the highest octave
    cutoff = pitches[-1] * (1 + 0.5 * _HANN_BANDWIDTH / quality)
    # Audio of a rate four times as high as the filters reach is first reduced to one that is at least twice as high.
    for _ in range(min(int(np.ceil(np.log2(rate / 2 / cutoff))) - 2, _halvings(hop) - octaves + 1)):
        samples, rate, hop = _halved(samples), rate // 2, hop // 2
    lengths = quality * rate / pitches
    filters = _filters(pitches / rate, lengths)
    frames = 1 + len(samples) // hop
    found = np.empty((octaves, per_octave, frames), np.float32)
    for octave in reversed(range(octaves)):
        half = len(filters) // 2
        heard = sliding_window_view(np.pad(samples, half), len(filters))[::hop][:frames] @ filters
        np.hypot(heard[:, :per_octave].T, heard[:, per_octave:].T, out=found[octave])
        # A filter that reads audio of half the rate stands for one of twice the length.
        samples, hop = _halved(samples), hop // 2
    found /= np.sqrt(lengths)[:, None]
    return found.reshape(-1, frames)


def _halvings(number: int) -> int:
    """How often a number can be divided by 2."""
    return (number & -number).bit_length() - 1


def _halved(samples: Array) -> Array:
    """Samples at half the rate, whose energy stays the same."""
    count = -(-len(samples) // 2)
    result: Array = soxr.resample(samples, 2, 1, quality="HQ")[:count]
    return np.pad(result, (0, count - len(result))) * np.float32(np.sqrt(2))


def _filters(frequencies: NDArray[np.float64], lengths: NDArray[np.float64]) -> Array:
    """Real and imaginary parts of filters that an excerpt is multiplied by.

    Parameters
    ----------
    frequencies : ``[filters]``, in cycles per sample
    lengths : ``[filters]``, in samples

    Returns
    -------
    ``[samples, 2 * filters]``, the number of samples being a power of 2; the real parts come first
    """
    size = 2 ** int(np.ceil(np.log2(lengths.max())))
    waves = np.zeros((len(lengths), size), np.complex64)
    for wave, frequency, length in zip(waves, frequencies, lengths, strict=True):
        places = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(len(places)) / len(places))
        first = (size - len(places)) // 2
        wave[first : first + len(places)] = window * np.exp(2j * np.pi * frequency * places) * length / window.sum()
    spectra = np.fft.fft(waves)[:, : size // 2 + 1] / size
    # As in librosa: the smallest magnitudes of each spectrum, up to a share of their sum, are dropped.
    sorted_ = np.sort(np.abs(spectra), axis=1)
    kept = np.cumsum(sorted_ / sorted_.sum(axis=1, keepdims=True), axis=1) >= _DROPPED
    least = np.take_along_axis(sorted_, kept.argmax(axis=1)[:, None], axis=1)
    spectra[np.abs(spectra) < least] = 0
    # Back in time, so that an excerpt needs no transform.
    kernels = np.fft.fft(spectra, size).T
    return np.concatenate([kernels.real, kernels.imag], axis=1).astype(np.float32)
