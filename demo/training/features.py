"""What the demo codec's codes say of 20 ms of sound: how loud its drums and each of its tones are, and no phase."""

from functools import cache

import numpy as np
import torch
from scipy.signal import firwin
from torch import Tensor
from torch.nn import functional

from demo.synth import FRAME, SAMPLE_RATE

LOW_TONES, HIGH_TONES = range(33, 57), range(57, 105)  # MIDI
LOW_WINDOW, HIGH_WINDOW, BAND_WINDOW = 6144, 3072, 640  # samples
SLOWER = 4  # tones are measured at 8 kHz, in a quarter of the time
BANDS = 24
LEAK = (
    0.003  # how loud everything else is in the drums' bands, so that their codes are not all one where no drum sounds
)
KNEE = 0.004  # amplitude at which the scale turns from linear to logarithmic: -48 dB
BLOCKS = (BANDS, 22, 22, 28)  # features that belong together: the drums' bands, then the tones from low to high
FEATURES = BANDS + len(LOW_TONES) + len(HIGH_TONES)


@cache
def _tone_kernels(tones: range, window: int) -> Tensor:
    """Windowed cosines and sines, ``[window / SLOWER, 2 * tones]``; a sinusoid of amplitude 1 measures 1."""
    frequencies = 440 * 2 ** ((np.array(tones) - 69) / 12)
    phase = 2 * np.pi * np.outer(np.arange(window // SLOWER), frequencies) * SLOWER / SAMPLE_RATE
    hann = np.hanning(window // SLOWER)[:, None]
    kernels = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * hann * (2 / hann.sum())
    return torch.from_numpy(kernels.astype(np.float32))


@cache
def _band_filters() -> Tensor:
    """Triangles evenly spaced on the mel scale from 60 Hz to 16 kHz, ``[BANDS, bins]``."""
    bins = np.fft.rfftfreq(BAND_WINDOW, 1 / SAMPLE_RATE)
    mel = np.linspace(2595 * np.log10(1 + 60 / 700), 2595 * np.log10(1 + 16000 / 700), BANDS + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(rising, falling)).astype(np.float32))


def _frames(audio: Tensor, window: int, hop: int = FRAME) -> Tensor:
    """Windows centred on each code frame's centre, ``[batch, frames, window]``."""
    padding = (window - hop) // 2
    return functional.pad(audio, (padding, padding)).unfold(-1, window, hop)


@cache
def _low_pass() -> Tensor:
    taps = firwin(64, 0.92 * SAMPLE_RATE / SLOWER / 2, fs=SAMPLE_RATE)
    return torch.from_numpy(taps.astype(np.float32))[None, None]


def _slow_down(audio: Tensor) -> Tensor:
    """``[batch, samples]`` to ``[batch, samples / SLOWER]``, without what would fold back."""
    padded = functional.pad(audio[:, None], (30, 30))
    return functional.conv1d(padded, _low_pass().to(audio.device), stride=SLOWER)[:, 0]


def _tones(audio: Tensor) -> list[Tensor]:
    """Amplitudes of the low and of the high tones, ``[batch, frames, tones]`` each."""
    slow, parts = _slow_down(audio), []
    for tones, window in ((LOW_TONES, LOW_WINDOW), (HIGH_TONES, HIGH_WINDOW)):
        kernels = _tone_kernels(tones, window).to(audio.device)
        cosine, sine = (_frames(slow, window // SLOWER, FRAME // SLOWER) @ kernels).chunk(2, dim=-1)
        parts.append((cosine.square() + sine.square() + 1e-12).sqrt())
    return parts


def _bands(audio: Tensor) -> Tensor:
    """Amplitudes of the bands, ``[batch, frames, BANDS]``."""
    hann = torch.hann_window(BAND_WINDOW, periodic=False, device=audio.device)
    power = torch.fft.rfft(_frames(audio, BAND_WINDOW) * hann).abs().square()
    return (power @ _band_filters().to(audio.device).T).sqrt() / (BAND_WINDOW / 4)


def features(drums: Tensor, others: Tensor) -> Tensor:
    """The drums of clips and all their other sound to ``[batch, frames, FEATURES]``.

    Both are ``[batch, samples]`` at 32 kHz; a tail short of a frame is left out.
    """
    drums, others = (audio[:, : audio.shape[-1] // FRAME * FRAME] for audio in (drums, others))
    return torch.cat([torch.log1p(part / KNEE) for part in (_bands(drums + LEAK * others), *_tones(others))], dim=-1)
