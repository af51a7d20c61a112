"""The pitch classes of a melody, frame by frame, as MusicGen's melody checkpoints were trained on them."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_LOWEST_A = 27.5
"""Hz; pitch classes are counted from it and turned to begin with C, three semitones higher."""
_CENTRE, _SPREAD = 5.0, 2.0
"""Octaves above `_LOWEST_A` of the pitches that count most, and the standard deviation of how much others count."""
_SMALLEST_NORM = 1e-6


@dataclass(frozen=True)
class ChromaOptions:
    """How chroma is made.

    Attributes
    ----------
    sample_rate : of the waveform
    classes : pitch classes in an octave
    window : samples that a frame is made from; frames are a quarter of it apart
    strongest_only : whether only the strongest pitch class of a frame is kept, as 1
    """

    sample_rate: int
    classes: int
    window: int
    strongest_only: bool

    @property
    def hop(self) -> int:
        """Samples from frame to frame."""
        return self.window // 4

    def frames(self, samples: int) -> int:
        """Frames of a waveform."""
        return 1 + max(samples, self.window) // self.hop


class Chroma(nn.Module):
    """A waveform to chroma.

    Parameters
    ----------
    options : how
    device : of its tensors
    """

    def __init__(self, options: ChromaOptions, device: torch.device) -> None:
        super().__init__()
        self.options = options
        # Stored in checkpoints, which rounds it to 16 bits in the released ones.
        self.register_buffer("window", torch.empty(options.window, device=device))
        filters = torch.from_numpy(filter_bank(options.sample_rate, options.window, options.classes))
        self.register_buffer("filters", filters.to(device), persistent=False)
        self.window: torch.Tensor
        self.filters: torch.Tensor

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        """Chroma float [frames, classes] of a waveform [samples]; one shorter than a window is padded."""
        size = self.options.window
        missing = max(0, size - waveform.shape[-1])
        waveform = functional.pad(waveform, (missing // 2, missing - missing // 2))
        spectrum = torch.stft(waveform, size, self.options.hop, window=self.window, return_complex=True)
        power = (spectrum / self.window.pow(2).sum().sqrt()).abs().pow(2)
        chroma = functional.normalize(self.filters @ power, p=math.inf, dim=0, eps=_SMALLEST_NORM).T
        if not self.options.strongest_only:
            return chroma
        return functional.one_hot(chroma.argmax(-1), self.options.classes).to(chroma)


def filter_bank(rate: int, size: int, classes: int) -> np.ndarray:
    """How much each bin of a spectrum counts for each pitch class.

    As in librosa's `filters.chroma`: a bell around every pitch of the class, at least a semitone wide, and over all of
    them a wide one in the middle of the keyboard.

    Parameters
    ----------
    rate : samples per second
    size : samples of the spectrum's window
    classes : pitch classes in an octave

    Returns
    -------
    float32 array [classes, 1 + size / 2], class C first
    """
    frequencies = np.arange(1, size // 2 + 2) * (rate / size)
    pitches = classes * np.log2(frequencies / _LOWEST_A)
    # Bin 0 has no pitch: it is put so far below bin 1 that it counts for hardly any.
    pitches = np.concatenate([[pitches[0] - 1.5 * classes], pitches])
    widths = np.maximum(np.diff(pitches), 1.0)
    pitches = pitches[:-1]
    half = classes // 2
    distances = (pitches - np.arange(classes)[:, None] + half) % classes - half
    bells = np.exp(-0.5 * (2 * distances / widths) ** 2)
    bells /= np.sqrt((bells**2).sum(axis=0))
    bells *= np.exp(-0.5 * ((pitches / classes - _CENTRE) / _SPREAD) ** 2)
    return np.roll(bells, -3 * (classes // 12), axis=0).astype(np.float32)
