"""Opening of audio files from untrusted sources, with limits on the decoded audio.

Header values are not trusted. Lengths are counted while decoding, block by block, so that a small file
that decodes to gigabytes costs no more than the limits below. Only formats in common use for music are
accepted, because every further decoder is a risk. The decoders are in `decoders`.
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
"""Maximum size of the decoded float32 samples: at a high enough sample rate, any number of samples is short."""
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8_000, 192_000
DEADLINE = 120.0
"""Maximum seconds of decoding."""

_PROTECTED = re.compile(rb"stsd.{12}(drms|enca)", re.DOTALL)
"""Sample description of an encrypted track (ISO/IEC 14496-12, 8.5.2), which decoders would turn into noise."""


class Decoder:
    """An open audio file whose decoding is limited.

    A file may have several parts, such as the links of a chained Ogg; all are converted to the sample rate and the
    number of channels of the first.

    Attributes
    ----------
    rate : samples per second
    channels : 1 or 2; more are mixed down to 2
    """

    def __init__(self, parts: Iterator[decoders.Part]) -> None:
        self._parts = parts
        self._first = _check_limits(next(parts))
        self.rate = self._first.rate
        self.channels = min(2, self._first.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples as finite float32 arrays [frames, channels]; a downmix may exceed ±1.

        Raises
        ------
        AudioError
            As soon as a limit is exceeded, a sample is not finite, or the data are damaged; at the end
            when there were no samples.
        """
        frames, size, end = 0, 0, time.monotonic() + DEADLINE
        for part in chain([self._first], map(_check_limits, self._parts)):
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
                yield self._match_first(mixed)
        if frames == 0:
            raise AudioError("the audio file holds no sound.")

    def _match_first(self, block: np.ndarray) -> np.ndarray:
        if block.shape[1] == self.channels:
            return block
        return block.mean(axis=1, keepdims=True) if self.channels == 1 else np.repeat(block, 2, axis=1)


def _check_limits(part: decoders.Part) -> decoders.Part:
    if not 1 <= part.channels <= MAX_CHANNELS:
        raise AudioError(f"the audio file has {part.channels} channels; 1 to {MAX_CHANNELS} are allowed.")
    if not MIN_RATE <= part.rate <= MAX_RATE:
        raise AudioError(f"the audio file has {part.rate} samples per second; {MIN_RATE} to {MAX_RATE} are allowed.")
    return part


@contextmanager
def decoder(path: Path) -> Iterator[Decoder]:
    """Open a file of any accepted format; raises `AudioError` for others."""
    if path.stat().st_size == 0:
        raise AudioError(kinds.refusal(b"", ""))
    with path.open("rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if _PROTECTED.search(content):
            raise AudioError("the audio file is copy-protected (DRM).")
        with closing(decoders.parts(path, file, content)) as parts:
            yield Decoder(parts)
