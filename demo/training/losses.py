"""Losses between a decoded waveform and its original."""

from functools import cache

import librosa
import torch
from torch import Tensor

from demo.synth import FRAME, SAMPLE_RATE

_MEL_SCALES = ((256, 24), (512, 48), (1024, 80), (2048, 96))
"""Windows in samples and mel bands: short windows locate a hit in time, long ones resolve notes."""
_FINE_WINDOW = 4096  # samples: resolves a note from the 50 Hz sidebands around it, which mel bands average away
_FLOOR = 1e-4  # power below which differences of log spectra do not count
_ONSET_WINDOW, _ONSET_BANDS, _ONSET_RANGE = 2048, 128, 8.0
"""As in `librosa.onset.onset_strength`: samples, mel bands, and dynamic range in powers of ten."""


@cache
def _mel_filters(window: int, bands: int) -> Tensor:
    return torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=window, n_mels=bands))


def _power(audio: Tensor, window: int) -> Tensor:
    hann = torch.hann_window(window, device=audio.device)
    return torch.stft(audio, window, window // 4, window, hann, return_complex=True).abs().square()


def spectral_loss(audio: Tensor, target: Tensor) -> Tensor:
    """Mean distance of mel spectra at four scales, log and linear, and of a fine log spectrum up to 4 kHz.

    Both are ``[batch, samples]``. The weights were set by hand and not searched: log spectra dominate, as hearing
    is logarithmic.
    """
    total = torch.zeros((), device=audio.device)
    for window, bands in _MEL_SCALES:
        mel = _mel_filters(window, bands).to(audio.device)
        ours, theirs = mel @ _power(audio, window) + _FLOOR, mel @ _power(target, window) + _FLOOR
        total = total + 0.5 * (ours.log() - theirs.log()).abs().mean()
        total = total + 0.2 * (ours.sqrt() - theirs.sqrt()).abs().mean() / (theirs.sqrt().mean() + 1e-3)
    ours, theirs = (_power(x, _FINE_WINDOW)[:, : _FINE_WINDOW // 8] + 1e-2 for x in (audio, target))
    return total / len(_MEL_SCALES) + 0.25 * (ours.log() - theirs.log()).abs().mean()


def band_onsets(audio: Tensor) -> Tensor:
    """Rise of each mel band from frame to frame, ``[batch, bands, frames - 1]`` in decibels / 10.

    Its mean over bands is the onset envelope of `librosa.onset.onset_strength`, one value for each codec frame.
    """
    hann = torch.hann_window(_ONSET_WINDOW, device=audio.device)
    power = torch.stft(audio, _ONSET_WINDOW, FRAME, _ONSET_WINDOW, hann, return_complex=True).abs().square()
    level = (_mel_filters(_ONSET_WINDOW, _ONSET_BANDS).to(audio.device) @ power + 1e-10).log10()
    level = torch.maximum(level, level.amax((1, 2), keepdim=True) - _ONSET_RANGE)
    return level.diff(dim=-1).relu()


def onset_loss(audio: Tensor, target: Tensor) -> Tensor:
    """Difference of the onsets of clips ``[batch, samples]``: by band, and as 1 - correlation of their envelopes."""
    ours, theirs = band_onsets(audio), band_onsets(target)
    a, b = (rises.mean(1) - rises.mean((1, 2))[:, None] for rises in (ours, theirs))
    correlation = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1) + 1e-12).sqrt()
    return (ours - theirs).abs().mean() / (theirs.mean() + 1e-3) + (1 - correlation).mean()
