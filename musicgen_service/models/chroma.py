"""Chroma (pitch classes per frame) of a melody, as used in training MusicGen's melody checkpoints."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_LOWEST_A = 27.5
"""Hz; pitch classes are counted from this A and then rotated to start at C, three semitones higher."""
_CENTRE, _SPREAD = 5.0, 2.0
"""Centre and standard deviation of the weight over pitches, in octaves above `_LOWEST_A`."""
_MIN_NORM = 1e-6


@dataclass(frozen=True)
class ChromaOptions:
    """Options of the chroma computation.

    Attributes
    ----------
    sample_rate : of the waveform
    classes : pitch classes per octave
    window : samples per frame; the hop between frames is a quarter of it
    strongest_only : whether only the strongest pitch class of a frame is kept, as 1
    """

    sample_rate: int
    classes: int
    window: int
    strongest_only: bool

    @property
    def hop(self) -> int:
        """Samples between frames."""
        return self.window // 4

    def frames(self, samples: int) -> int:
        """Return the number of frames of a waveform."""
        return 1 + max(samples, self.window) // self.hop


class Chroma(nn.Module):
    """Computes the chroma of a waveform.

    Parameters
    ----------
    options : of the computation
    device : of its tensors
    """

    def __init__(self, options: ChromaOptions, device: torch.device) -> None:
        super().__init__()
        self.options = options
        # Loaded from the checkpoint; the released checkpoints store it rounded to 16 bits.
        self.register_buffer("window", torch.empty(options.window, device=device))
        filters = torch.from_numpy(filter_bank(options.sample_rate, options.window, options.classes))
        self.register_buffer("filters", filters.to(device), persistent=False)
        self.window: torch.Tensor
        self.filters: torch.Tensor

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute chroma float [frames, classes] of a waveform [samples], padded to at least one window."""
        size = self.options.window
        missing = max(0, size - waveform.shape[-1])
        waveform = functional.pad(waveform, (missing // 2, missing - missing // 2))
        spectrum = torch.stft(waveform, size, self.options.hop, window=self.window, return_complex=True)
        power = (spectrum / self.window.pow(2).sum().sqrt()).abs().pow(2)
        chroma = functional.normalize(self.filters @ power, p=math.inf, dim=0, eps=_MIN_NORM).T
        if not self.options.strongest_only:
            return chroma
        return functional.one_hot(chroma.argmax(-1), self.options.classes).to(chroma)


def filter_bank(rate: int, size: int, classes: int) -> np.ndarray:
    """Compute the weight of each spectrum bin for each pitch class.

    As in librosa's `filters.chroma`: a Gaussian around every pitch of the class, at least a semitone wide, times a wide
    Gaussian centred in the middle of the keyboard.

    Parameters
    ----------
    rate : samples per second
    size : samples of the spectrum's window
    classes : pitch classes per octave

    Returns
    -------
    float32 array [classes, 1 + size / 2], class C first
    """
    frequencies = np.arange(1, size // 2 + 2) * (rate / size)
    pitches = classes * np.log2(frequencies / _LOWEST_A)
    # Bin 0 has no pitch: it is placed so far below bin 1 that its weights are negligible.
    pitches = np.concatenate([[pitches[0] - 1.5 * classes], pitches])
    widths = np.maximum(np.diff(pitches), 1.0)
    pitches = pitches[:-1]
    half = classes // 2
    distances = (pitches - np.arange(classes)[:, None] + half) % classes - half
    weights = np.exp(-0.5 * (2 * distances / widths) ** 2)
    weights /= np.sqrt((weights**2).sum(axis=0))
    weights *= np.exp(-0.5 * ((pitches / classes - _CENTRE) / _SPREAD) ** 2)
    return np.roll(weights, -3 * (classes // 12), axis=0).astype(np.float32)
