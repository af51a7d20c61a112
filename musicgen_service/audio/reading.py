"""Audio files of any common kind to float arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from musicgen_service.audio import gate
from musicgen_service.audio.gate import AudioError as AudioError

SILENCE = 1e-4
"""Peak (-80 dB) below which there is nothing to hear."""


@dataclass(frozen=True)
class Audio:
    """Decoded sound.

    Attributes
    ----------
    samples : float32 array [channels, samples] within ±1
    rate : samples per second
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to hear in it."""
        return bool(np.abs(self.samples).max(initial=0.0) < SILENCE)

    def slice(self, start: float, end: float | None) -> "Audio":
        """The part between `start` and `end` seconds (None: to the end), end clamped to the length."""
        first = int(start * self.rate)
        last = None if end is None else int(end * self.rate)
        return Audio(self.samples[:, first:last], self.rate)

    def convert(self, rate: int, channels: int) -> "Audio":
        """The same sound at another sample rate and with one or two channels.

        Down to mono by the mean; up to stereo by doubling; of more than two the first two are kept.
        """
        samples = self.samples
        if channels == 1:
            samples = samples.mean(axis=0, keepdims=True)
        elif samples.shape[0] == 1:
            samples = np.repeat(samples, channels, axis=0)
        samples = samples[:channels]
        if rate != self.rate:
            samples = soxr.resample(np.ascontiguousarray(samples.T), self.rate, rate).T
        return Audio(np.ascontiguousarray(samples, dtype=np.float32), rate)


def read(path: Path) -> Audio:
    """Decode a file of any accepted kind (see `gate`), without a constant offset and scaled to ±1.

    Raises
    ------
    AudioError
        When it is not audio, is empty, or is beyond the limits of `gate`.
    """
    with gate.decoder(path) as decoder:
        samples = np.concatenate(list(decoder.blocks())).T
    samples = _within_one(samples)
    offset = samples.mean(axis=1, keepdims=True, dtype=np.float64)
    return Audio(_within_one(samples - offset.astype(np.float32)), decoder.rate)


def seconds(path: Path) -> float:
    """Length of a file in seconds, counted by decoding it; raises `AudioError` as `gate` does."""
    with gate.decoder(path) as decoder:
        return sum(len(block) for block in decoder.blocks()) / decoder.rate


def _within_one(samples: np.ndarray) -> np.ndarray:
    return samples / max(1.0, float(np.abs(samples).max()))
