"""Reading audio files of any common format into float arrays."""

import hashlib
import math
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from musicgen_service.audio import channels, opening
from musicgen_service.audio.opening import AudioError as AudioError

SILENCE_PEAK = 1e-4
"""Peak (-80 dB) below which audio counts as silent."""
_OFFSET_STEPS = 2**19
"""An offset is a multiple of the inverse of this: then no bit of a file of up to 24 bits is lost with it."""


@dataclass(frozen=True, eq=False)
class Audio:
    """Decoded sound.

    Attributes
    ----------
    samples : float32 array [1 or 2 channels, samples] within ±1
    rate : samples per second
    """

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return self.samples.shape[1] / self.rate

    @cached_property
    def mono(self) -> np.ndarray:
        """Mono mix: float32 array [samples]; see `channels.to_mono` for sides that cancel out."""
        return channels.to_mono(self.samples, self.rate)

    @property
    def is_silent(self) -> bool:
        """Whether the mono mix is silent."""
        return _peak(self.mono) < SILENCE_PEAK

    def slice(self, start: float, end: float | None) -> "Audio":
        """Return the part between `start` and `end` seconds (None: to the end); `end` is clamped to the length."""
        first = int(start * self.rate)
        last = None if end is None else int(end * self.rate)
        return Audio(self.samples[:, first:last], self.rate)

    def convert(self, rate: int, channels: int) -> "Audio":
        """Convert to another sample rate and one or two channels: down by `mono`, up by duplicating the channel."""
        samples = self.samples
        if channels == 1:
            samples = self.mono[None]
        elif samples.shape[0] == 1:
            samples = np.repeat(samples, channels, axis=0)
        if rate != self.rate:
            samples = soxr.resample(np.ascontiguousarray(samples.T), self.rate, rate).T
        return Audio(np.ascontiguousarray(samples, dtype=np.float32), rate)


@dataclass(frozen=True, eq=False)
class AudioInput(Audio):
    """A client's file, decoded.

    Attributes
    ----------
    name : of the file
    sha256 : of its content, in hexadecimal
    offset : float32 array [channels, 1], the DC offset that was removed
    gain : the factor by which it was made quieter after that
    """

    name: str
    sha256: str
    offset: np.ndarray = field(default_factory=lambda: np.zeros((1, 1), np.float32))
    gain: float = 1.0

    @property
    def unchanged(self) -> Audio:
        """The samples as the file has them, within ±1; those of a file of up to 24 bits exactly."""
        if self.gain == 1 and not self.offset.any():
            return Audio(self.samples, self.rate)
        return Audio(np.clip(self.samples * np.float32(self.gain) + self.offset, -1.0, 1.0), self.rate)


class UnfetchedInput(AudioInput):
    """A client's file at an address that is not fetched yet, with samples that say nothing."""

    @property
    def seconds(self) -> float:
        """NaN: its length is not known."""
        return math.nan


def read(path: Path) -> Audio:
    """Decode a file of any accepted format (see `opening`), remove the DC offset and scale it to ±1.

    Raises
    ------
    AudioError
        When it is not audio, is empty, or exceeds the limits of `opening`.
    """
    audio, _, _ = _read(path)
    return audio


def read_input(path: Path) -> AudioInput:
    """Decode a client's file as `read` does."""
    audio, offset, gain = _read(path)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # For recipes, which are text; a name of a file need not be.
    name = os.fsencode(path.name).decode(errors="replace")
    return AudioInput(audio.samples, audio.rate, name, digest, offset, gain)


def _read(path: Path) -> tuple[Audio, np.ndarray, float]:
    """Decode a file; also return the offset [channels, 1] and the gain that were taken out, in this order."""
    # The array grows in place, so that a long file is in memory only once.
    content = bytearray()
    with opening.decoder(path) as decoder:
        for block in decoder.blocks():
            content += np.ascontiguousarray(block, dtype=np.float32).data.cast("B")
    samples = np.frombuffer(content, np.float32).reshape(-1, decoder.channels).T
    samples /= max(1.0, _peak(samples))
    means = [channel.mean(dtype=np.float64) for channel in samples]  # faster than those of all channels at once
    offset = (np.round(np.array(means)[:, None] * _OFFSET_STEPS) / _OFFSET_STEPS).astype(np.float32)
    samples -= offset
    gain = max(1.0, _peak(samples))
    samples /= gain
    return Audio(samples, decoder.rate), offset, gain


def _peak(samples: np.ndarray) -> float:
    return float(max(samples.max(initial=0.0), -samples.min(initial=0.0)))
