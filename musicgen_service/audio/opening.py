"""Where hostile audio stops: what may be decoded, and how much of it.

A header's word is taken for nothing. Lengths are counted while decoding, block by block, so that a small
file that decodes to gigabytes costs no more than the limits below; formats are taken from a list of those
that music comes in, because a decoder that nobody needs is only a risk. The decoders are in `decoders`.
"""

import mmap
import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import numpy as np

from musicgen_service.audio import channels, decoders, kinds
from musicgen_service.audio.decoders import AudioError as AudioError

MAX_SECONDS = 15 * 60
MAX_BYTES = 256 * 2**20
"""Of decoded float32 samples: a file may claim a sample rate at which any length is short."""
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8_000, 192_000
DEADLINE = 120.0
"""Seconds that decoding may take."""

_PROTECTED = re.compile(rb"stsd.{12}(drms|enca)", re.DOTALL)
"""A sample description of an encrypted track (ISO/IEC 14496-12, 8.5.2); decoders make noise of it."""


class Decoder:
    """An open audio file that is within the limits so far.

    A file may have parts, such as the links of a chained Ogg; they all get the sample rate and the number of channels
    of the first.

    Attributes
    ----------
    rate : samples per second
    channels : 1 or 2; more are mixed down to 2
    """

    def __init__(self, parts: Iterator[decoders.Part]) -> None:
        self._parts = parts
        self._first = _usable(next(parts))
        self.rate = self._first.rate
        self.channels = min(2, self._first.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples as float32 arrays [frames, channels], all finite; more than two channels mixed may exceed ±1.

        Raises
        ------
        AudioError
            As soon as a limit is passed, a sample is not a number, or the data are damaged; at the end
            when there was not one sample.
        """
        frames, size, end = 0, 0, time.monotonic() + DEADLINE
        for part in chain([self._first], map(_usable, self._parts)):
            for block in part.blocks():
                frames, size = frames + len(block), size + 4 * block.size
                if frames > MAX_SECONDS * self.rate:
                    raise AudioError(f"the audio file is longer than {MAX_SECONDS // 60} minutes.")
                if size > MAX_BYTES:
                    raise AudioError(f"the audio file takes more than {MAX_BYTES >> 20} MiB of memory when decoded.")
                mixed = channels.to_stereo(block, part.mask)
                if not np.isfinite(mixed).all():
                    raise AudioError("the audio file holds samples that are not numbers.")
                if time.monotonic() > end:
                    raise AudioError(f"the audio file takes more than {DEADLINE:.0f} s to decode.")
                yield self._like_the_first(mixed)
        if frames == 0:
            raise AudioError("the audio file holds no sound.")

    def _like_the_first(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] == self.channels:
            return block
        return block.mean(axis=1, keepdims=True) if self.channels == 1 else np.repeat(block, 2, axis=1)


def _usable(part: decoders.Part) -> decoders.Part:
    if not 1 <= part.channels <= MAX_CHANNELS:
        raise AudioError(f"the audio file has {part.channels} channels; 1 to {MAX_CHANNELS} are allowed.")
    if not MIN_RATE <= part.rate <= MAX_RATE:
        raise AudioError(f"the audio file has {part.rate} samples per second; {MIN_RATE} to {MAX_RATE} are allowed.")
    return part


@contextmanager
def decoder(path: Path) -> Iterator[Decoder]:
    """Open a file of any accepted kind; raises `AudioError` for others."""
    if path.stat().st_size == 0:
        raise AudioError(kinds.refusal(b"", ""))
    with path.open("rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _PROTECTED.search(content):
            raise AudioError("the audio file is copy-protected (DRM).")
        with closing(decoders.parts(path, file, content)) as parts:
            yield Decoder(parts)
