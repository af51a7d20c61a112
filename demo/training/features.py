"""Phase-free audio features: for every 20 ms, the level of 24 bands of the drums and of 72 semitones of the rest.

A small language model cannot predict phase, so the codec's codes must not carry any. Both kinds of features are
amplitudes on a scale that is linear near silence and logarithmic above.
"""

from functools import cache

import numpy as np
import torch
from scipy.signal import firwin
from torch import Tensor
from torch.nn import functional

from demo.synth import FRAME, SAMPLE_RATE

LOW_TONES, HIGH_TONES = range(33, 57), range(57, 105)
"""MIDI numbers, from the lowest bass note to the highest partial that `demo.synth` plays."""
LOW_WINDOW, HIGH_WINDOW = 6144, 3072
"""Samples: long enough to resolve neighbouring semitones, hence the longer one below 220 Hz. Longer windows blur the
attack of notes."""
BAND_WINDOW = FRAME  # samples: drums are measured frame by frame, as a hit lasts only a few frames
DECIMATION = 4  # tones are measured at 8 kHz, which holds the highest (3.3 kHz) and costs a quarter
BANDS = 24
LEAKAGE = 0.003
"""Gain of everything else in the drums' bands. Without it, half of all frames (those without drums) would have the same
code; -50 dB stays far below the softest hit."""
KNEE = 0.004  # amplitude (-48 dB) where the scale turns from linear to logarithmic: anything lower is hardly audible
GROUPS = (BANDS, 22, 22, 28)
"""Sizes of the groups of features that share a codebook: the drums' bands, then tones from low to high."""
FEATURES = sum(GROUPS)


@cache
def _tone_kernels(tones: range, window: int) -> Tensor:
    """Windowed cosines and sines, ``[window / DECIMATION, 2 * tones]``; a sinusoid of amplitude 1 measures 1."""
    frequencies = 440 * 2 ** ((np.array(tones) - 69) / 12)
    phase = 2 * np.pi * np.outer(np.arange(window // DECIMATION), frequencies) * DECIMATION / SAMPLE_RATE
    hann = np.hanning(window // DECIMATION)[:, None]
    kernels = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * hann * (2 / hann.sum())
    return torch.from_numpy(kernels.astype(np.float32))


@cache
def _band_filters() -> Tensor:
    """Triangular filters, evenly spaced on the mel scale from 60 Hz to 16 kHz, ``[BANDS, bins]``."""
    bins = np.fft.rfftfreq(BAND_WINDOW, 1 / SAMPLE_RATE)
    mel = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 16000 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


def _windows(audio: Tensor, window: int, hop: int = FRAME) -> Tensor:
    """Windows centred on each codec frame's centre, ``[batch, frames, window]``."""
    padding = (window - hop) // 2
    return functional.pad(audio, (padding, padding)).unfold(-1, window, hop)


@cache
def _low_pass() -> Tensor:
    taps = firwin(64, 0.92 * SAMPLE_RATE / DECIMATION / 2, fs=SAMPLE_RATE)
    return torch.from_numpy(taps.astype(np.float32))[None, None]


def _decimate(audio: Tensor) -> Tensor:
    """``[batch, samples]`` to ``[batch, samples / DECIMATION]``, low-passed against aliasing."""
    padded = functional.pad(audio[:, None], (30, 30))
    return functional.conv1d(padded, _low_pass().to(audio.device), stride=DECIMATION)[:, 0]


def _tones(audio: Tensor) -> list[Tensor]:
    """Amplitudes of the low and of the high tones, ``[batch, frames, tones]`` each."""
    decimated, parts = _decimate(audio), []
    for tones, window in ((LOW_TONES, LOW_WINDOW), (HIGH_TONES, HIGH_WINDOW)):
        kernels = _tone_kernels(tones, window).to(audio.device)
        windows = _windows(decimated, window // DECIMATION, FRAME // DECIMATION)
        cosine, sine = (windows @ kernels).chunk(2, dim=-1)
        parts.append((cosine.square() + sine.square() + 1e-12).sqrt())
    return parts


def _bands(audio: Tensor) -> Tensor:
    """Amplitudes of the bands, ``[batch, frames, BANDS]``."""
    hann = torch.hann_window(BAND_WINDOW, periodic=False, device=audio.device)
    power = torch.fft.rfft(_windows(audio, BAND_WINDOW) * hann).abs().square()
    return (power @ _band_filters().to(audio.device).T).sqrt() / (BAND_WINDOW / 4)


def features(drums: Tensor, others: Tensor) -> Tensor:
    """Compute the features ``[batch, frames, FEATURES]`` of clips, given as drums and everything else.

    Both are ``[batch, samples]`` at 32 kHz; a remainder shorter than a frame is ignored.
    """
    drums, others = (audio[:, : audio.shape[-1] // FRAME * FRAME] for audio in (drums, others))
    parts = (_bands(drums + LEAKAGE * others), *_tones(others))
    return torch.cat([torch.log1p(part / KNEE) for part in parts], dim=-1)
