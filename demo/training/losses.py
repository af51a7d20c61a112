"""How far a decoded waveform is from the original, to the ear."""

from functools import cache

import librosa
import torch
from torch import Tensor

from demo.synth import FRAME, SAMPLE_RATE

_SCALES = ((256, 24), (512, 48), (1024, 80), (2048, 96))  # window in samples, mel bands
_LONG_WINDOW = 4096  # tells a tone from a buzz around it
_FLOOR = 1e-4
_ONSET_WINDOW, _ONSET_BANDS, _ONSET_RANGE = 2048, 128, 8.0  # samples, mel bands, powers of ten below the loudest


@cache
def _mel(window: int, bands: int) -> Tensor:
    return torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=window, n_mels=bands))


def _power(audio: Tensor, window: int) -> Tensor:
    hann = torch.hann_window(window, device=audio.device)
    return torch.stft(audio, window, window // 4, window, hann, return_complex=True).abs().square()


def spectral(audio: Tensor, target: Tensor) -> Tensor:
    """Mean distance of log-mel spectra at four scales and of the fine spectrum; both ``[batch, samples]``."""
    total = torch.zeros((), device=audio.device)
    for window, bands in _SCALES:
        mel = _mel(window, bands).to(audio.device)
        ours, theirs = mel @ _power(audio, window) + _FLOOR, mel @ _power(target, window) + _FLOOR
        total = total + 0.5 * (ours.log() - theirs.log()).abs().mean()
        total = total + 0.2 * (ours.sqrt() - theirs.sqrt()).abs().mean() / (theirs.sqrt().mean() + 1e-3)
    ours, theirs = (_power(x, _LONG_WINDOW)[:, : _LONG_WINDOW // 8] + 1e-2 for x in (audio, target))
    return total / len(_SCALES) + 0.25 * (ours.log() - theirs.log()).abs().mean()


def _rises(audio: Tensor) -> Tensor:
    """By how much each mel band grows from frame to frame, ``[batch, bands, frames - 1]`` in decibels / 10."""
    hann = torch.hann_window(_ONSET_WINDOW, device=audio.device)
    power = torch.stft(audio, _ONSET_WINDOW, FRAME, _ONSET_WINDOW, hann, return_complex=True).abs().square()
    level = (_mel(_ONSET_WINDOW, _ONSET_BANDS).to(audio.device) @ power + 1e-10).log10()
    level = torch.maximum(level, level.amax((1, 2), keepdim=True) - _ONSET_RANGE)
    return level.diff(dim=-1).relu()


def onsets(audio: Tensor, target: Tensor) -> Tensor:
    """How differently two clips ``[batch, samples]`` set in: by band, and as 1 - correlation of the sum of all bands.

    The sum is the onset envelope of `librosa.onset.onset_strength`, one value for each code frame.
    """
    ours, theirs = _rises(audio), _rises(target)
    a, b = (rises.mean(1) - rises.mean((1, 2))[:, None] for rises in (ours, theirs))
    correlation = (a * b).sum(1) / (a.square().sum(1) * b.square().sum(1) + 1e-12).sqrt()
    return (ours - theirs).abs().mean() / (theirs.mean() + 1e-3) + (1 - correlation).mean()
