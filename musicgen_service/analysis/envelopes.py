"""What a beat tracker listens to: where sounds begin and where the harmony changes, 86 times a second."""

import numpy as np
import scipy  # its parts load when they are first used
import soxr
from numpy.typing import NDArray

from musicgen_service.analysis import mel
from musicgen_service.analysis.pitch import LOWEST, PITCH_RATE, TRIADS, fold, levels

RATE = 22_050
HOP = 256
FRAME_RATE = RATE / HOP
BANDS = ("low", "mid", "high", "harmony", "bass")
_FFT, _MELS, _MEL_RANGE = 1024, 96, (30.0, 10_500.0)
_CROSSOVERS = (160.0, 3000.0)
_LATENCY = 0.8  # frames: how much earlier the difference of two windows peaks than a sound begins
_NOVELTY_SECONDS = 0.6
_CEILING = 15.0  # times its mean: a single bang must not outweigh a song
_NOTHING = 0.5  # what held sounds fluctuate by; a soft beginning measures ten times that, a hit hundreds
_LEAST_SHARE = 0.1  # of all onsets: a band with less is not raised to mean 1
_USUAL = 0.05  # mean squared novelty of music
_QUIET = 0.1  # share of the usual level under which harmony counts for little

Array = NDArray[np.float64]


def mono(samples: np.ndarray, sample_rate: int) -> NDArray[np.float32]:
    """``[channels, samples]`` or ``[samples]`` at any rate to ``[samples]`` at RATE, peak 1, all 0 when silent."""
    audio = np.atleast_2d(samples).mean(axis=0, dtype=np.float32)
    if sample_rate != RATE and audio.size:
        audio = soxr.resample(audio, sample_rate, RATE)
    peak = float(np.abs(audio).max(initial=0.0))
    return audio / np.float32(peak) if peak > 1e-4 else np.zeros_like(audio)


def envelopes(audio: NDArray[np.float32]) -> Array:
    """How much begins or changes at each time.

    Parameters
    ----------
    audio : ``[samples]`` at RATE, peak 1

    Returns
    -------
    ``[BANDS, frames]``, frame i at i / FRAME_RATE seconds, each about 1 in the mean: onsets below 160 Hz, up to
    3 kHz and above (spectral flux against the loudest neighbour before, after Böck & Widmer's SuperFlux, DAFx 2013),
    changes of the triad and changes of the bass from the last 0.6 s to the next.
    """
    spectrum = mel.magnitudes(audio, _FFT, HOP)
    bands = mel.filters(RATE, _FFT, _MELS, *_MEL_RANGE) @ spectrum
    loudness = np.log1p(1000 * bands / max(float(bands.max()), 1e-9))
    before = scipy.ndimage.maximum_filter1d(loudness, 3, axis=0)
    rises = np.pad(np.maximum(0, loudness[:, 2:] - before[:, :-2]), ((0, 0), (1, 1)))
    centres = mel.frequencies(_MELS + 2, *_MEL_RANGE)[1:-1]
    parts = np.split(rises, np.searchsorted(centres, _CROSSOVERS))
    frames = np.arange(spectrum.shape[1])
    sums = [np.maximum(part.sum(axis=0) - _NOTHING, 0) for part in parts]
    rows = np.array([np.interp(frames - _LATENCY, frames, row) for row in sums])
    means = rows.mean(axis=1)
    rows /= np.maximum(np.maximum(means, _LEAST_SHARE * means.mean()), 1e-9)[:, None]
    times = frames / FRAME_RATE * PITCH_RATE
    changes = [np.interp(times, np.arange(len(novelty)), novelty**2 / _USUAL) for novelty in _changes(audio)]
    return np.minimum(np.concatenate([rows, changes]), _CEILING)


def _changes(audio: NDArray[np.float32]) -> tuple[Array, Array]:
    """Novelty of triads and of the bass, ``[pitch frames]`` each."""
    pitches = levels(audio, RATE)
    midi = np.arange(LOWEST, LOWEST + len(pitches))
    middle = fold(pitches * np.exp(-(((midi - 62) / 16) ** 2))[:, None] * (midi >= 45)[:, None])
    # Triads rather than pitch classes: a melody moves within the chord more than it leaves it.
    triads = TRIADS @ scipy.ndimage.uniform_filter1d(middle, 5, axis=1)
    strongest = triads.max(axis=0)
    triads *= (triads / np.maximum(strongest, 1e-6)) ** 7 / (strongest + _QUIET * strongest.mean() + 1e-6)
    return _novelty(triads), _novelty(fold(pitches * (midi < 52)[:, None]))


def _novelty(features: Array) -> Array:
    """One minus the cosine of what comes and what was, 0 in silence: ``[frames]`` of ``[features, frames]``."""
    frames = features.shape[1]
    width = round(_NOVELTY_SECONDS * PITCH_RATE)
    total = np.cumsum(np.pad(features, ((0, 0), (1, 0))), axis=1)
    here = np.arange(frames)
    begin, end = np.maximum(here - width, 0), np.minimum(here + width, frames)
    after = (total[:, end] - total[:, here]) / np.maximum(end - here, 1)
    before = (total[:, here] - total[:, begin]) / np.maximum(here - begin, 1)
    lengths = np.linalg.norm(after, axis=0) * np.linalg.norm(before, axis=0)
    novelty = (lengths - (after * before).sum(axis=0)) / (lengths + _QUIET**2 * lengths.mean() + 1e-6)
    novelty[: width // 2] = novelty[frames - width // 2 :] = 0  # too little on one side to compare
    return novelty
