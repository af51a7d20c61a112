"""Envelopes for beat tracking: onset strength and harmonic change, 86 times per second."""

import numpy as np
import scipy  # submodules are imported on first use
import soxr
from numpy.typing import NDArray

from musicgen_service.analysis import mel
from musicgen_service.analysis.pitch import LOWEST, PITCH_RATE, TRIAD_VECTORS, fold, levels

RATE = 22_050
HOP = 256
FRAME_RATE = RATE / HOP
BANDS = ("low", "mid", "high", "harmony", "bass")
_FFT, MELS, _MEL_RANGE = 1024, 96, (30.0, 10_500.0)
_BLOCK = 1024  # frames
_CROSSOVERS = (160.0, 3000.0)
_LATENCY = 0.8  # frames by which the difference of two windows peaks before the onset
_NOVELTY_SECONDS = 0.6
_CEILING = 15.0  # in multiples of the mean: a single loud hit must not dominate a song
_NOISE_FLOOR = 0.5  # fluctuation of sustained sounds; a soft onset measures ten times that, a hit hundreds
_MIN_SHARE = 0.1  # of all onsets: a band with less is not normalised to mean 1
_TYPICAL_NOVELTY = 0.05  # mean squared novelty of music
_QUIET = 0.1  # share of the average level below which harmony has little weight

Array = NDArray[np.float64]


def mono(samples: np.ndarray, sample_rate: int) -> NDArray[np.float32]:
    """Convert ``[channels, samples]`` or ``[samples]`` to ``[samples]`` at RATE, normalised to peak 1; 0 if silent."""
    # One channel is not copied: a long recording is large.
    audio = samples.astype(np.float32, copy=False) if samples.ndim == 1 else samples.mean(axis=0, dtype=np.float32)
    if sample_rate != RATE and audio.size:
        audio = soxr.resample(audio, sample_rate, RATE)
    peak = max(float(audio.max(initial=0.0)), -float(audio.min(initial=0.0)))
    return audio / np.float32(peak) if peak > 1e-4 else np.zeros_like(audio)


def loudness(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the logarithmic loudness of mel bands.

    Parameters
    ----------
    audio : ``[samples]`` at RATE, peak 1

    Returns
    -------
    ``[MELS, frames]``, frame i at i / FRAME_RATE seconds
    """
    result = _bands(audio)
    result *= 1000 / max(float(result.max()), 1e-9)
    np.log1p(result, out=result)  # in place: those of a long recording are large
    return result


def rises(loudness: NDArray[np.float32]) -> NDArray[np.float32]:
    """How much louder each band becomes from a frame before to one after, ``[MELS, frames]``.

    Beside the loudest neighbour: a vibrato is no onset (Böck & Widmer's SuperFlux, DAFx 2013).
    """
    before = scipy.ndimage.maximum_filter1d(loudness, 3, axis=0)
    return np.pad(np.maximum(0, loudness[:, 2:] - before[:, :-2]), ((0, 0), (1, 1)))


def envelopes(audio: NDArray[np.float32], loudness: NDArray[np.float32]) -> Array:
    """Compute onset strength and harmonic change over time.

    Parameters
    ----------
    audio : ``[samples]`` at RATE, peak 1
    loudness : see `loudness`

    Returns
    -------
    ``[BANDS, frames]``, frame i at i / FRAME_RATE seconds, each with a mean of about 1: onsets below 160 Hz, up to
    3 kHz and above (sums of `rises`), changes of the triad and changes of the bass from the last 0.6 s to the next.
    """
    centres = mel.frequencies(MELS + 2, *_MEL_RANGE)[1:-1]
    parts = np.split(rises(loudness), np.searchsorted(centres, _CROSSOVERS))
    frames = np.arange(loudness.shape[1])
    sums = [np.maximum(part.sum(axis=0) - _NOISE_FLOOR, 0) for part in parts]
    rows = np.array([np.interp(frames - _LATENCY, frames, row) for row in sums])
    means = rows.mean(axis=1)
    rows /= np.maximum(np.maximum(means, _MIN_SHARE * means.mean()), 1e-9)[:, None]
    times = frames / FRAME_RATE * PITCH_RATE
    changes = [np.interp(times, np.arange(len(novelty)), novelty**2 / _TYPICAL_NOVELTY) for novelty in _changes(audio)]
    return np.minimum(np.concatenate([rows, changes]), _CEILING)


def _bands(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the magnitudes of mel bands, ``[bands, frames]``, block by block: all spectra together are large."""
    filters = mel.filters(RATE, _FFT, MELS, *_MEL_RANGE)
    frames, around = 1 + len(audio) // HOP, _FFT // HOP
    bands = np.empty((MELS, frames), np.float32)
    for start in range(0, frames, _BLOCK):
        before = min(start, around)
        part = mel.magnitudes(audio[(start - before) * HOP : (start + _BLOCK + around) * HOP], _FFT, HOP)
        bands[:, start : start + _BLOCK] = filters @ part[:, before : before + min(_BLOCK, frames - start)]
    return bands


def _changes(audio: NDArray[np.float32]) -> tuple[Array, Array]:
    """Compute the novelty of triads and of the bass, ``[pitch frames]`` each."""
    pitches = levels(audio, RATE)
    midi = np.arange(LOWEST, LOWEST + len(pitches))
    middle = fold(pitches * np.exp(-(((midi - 62) / 16) ** 2))[:, None] * (midi >= 45)[:, None])
    # Triads rather than pitch classes: a melody moves within the chord more than it leaves it.
    triads = TRIAD_VECTORS @ scipy.ndimage.uniform_filter1d(middle, 5, axis=1)
    strongest = triads.max(axis=0)
    triads *= (triads / np.maximum(strongest, 1e-6)) ** 7 / (strongest + _QUIET * strongest.mean() + 1e-6)
    return _novelty(triads), _novelty(fold(pitches * (midi < 52)[:, None]))


def _novelty(features: Array) -> Array:
    """One minus the cosine similarity of past and future, 0 in silence: ``[features, frames]`` to ``[frames]``."""
    frames = features.shape[1]
    width = round(_NOVELTY_SECONDS * PITCH_RATE)
    total = np.cumsum(np.pad(features, ((0, 0), (1, 0))), axis=1)
    here = np.arange(frames)
    begin, end = np.maximum(here - width, 0), np.minimum(here + width, frames)
    after = (total[:, end] - total[:, here]) / np.maximum(end - here, 1)
    before = (total[:, here] - total[:, begin]) / np.maximum(here - begin, 1)
    lengths = np.linalg.norm(after, axis=0) * np.linalg.norm(before, axis=0)
    novelty = (lengths - (after * before).sum(axis=0)) / (lengths + _QUIET**2 * lengths.mean() + 1e-6)
    novelty[: width // 2] = novelty[frames - width // 2 :] = 0  # too little context on one side
    return novelty
