"""Encoding of sound of which more is to come: wav and mp3."""

import io
import wave
from typing import IO, Protocol, cast

import numpy as np
import soundfile

from musicgen_service.audio.encoding import to_int16

MEDIA_TYPES = {"wav": "audio/wav", "mp3": "audio/mpeg"}


class Encoder(Protocol):
    """Encodes consecutive pieces of sound."""

    @property
    def media_type(self) -> str:
        """Of the result."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes of the complete result, where they are known beforehand."""
        ...

    def encode(self, piece: np.ndarray) -> bytes:
        """Encode the next piece, float32 [channels, samples]; a part of it may come with the next one."""
        ...

    def end(self) -> bytes:
        """What is left of the last piece."""
        ...


def encoder(output_format: str, samples: int, rate: int, channels: int) -> Encoder:
    """The encoder for sound whose file has a format: mp3 for mp3, wav for every other.

    Parameters
    ----------
    samples : its length
    rate : samples per second
    """
    return Mp3Encoder(rate, channels) if output_format == "mp3" else WavEncoder(samples, rate, channels)


class WavEncoder:
    """16-bit wav, whose header tells the length of what is to come.

    Parameters
    ----------
    samples : its length
    rate : samples per second
    """

    media_type = MEDIA_TYPES["wav"]

    def __init__(self, samples: int, rate: int, channels: int) -> None:
        self._sink = _Sink()
        self._file = wave.Wave_write(cast(IO[bytes], self._sink))
        self._file.setparams((channels, 2, rate, samples, "NONE", "not compressed"))
        self.size = 44 + 2 * channels * samples

    def encode(self, piece: np.ndarray) -> bytes:
        """See `Encoder.encode`."""
        self._file.writeframesraw(to_int16(piece).tobytes())
        return self._sink.take()

    def end(self) -> bytes:
        """See `Encoder.end`."""
        return b""


class Mp3Encoder:
    """Mp3 of the bit rate of files (320 kbit/s).

    Parameters
    ----------
    rate : samples per second
    """

    media_type = MEDIA_TYPES["mp3"]
    size = None

    def __init__(self, rate: int, channels: int) -> None:
        self._sink = _Sink()
        # A constant bit rate at compression level 0 is the highest one.
        self._file = soundfile.SoundFile(
            self._sink, "w", rate, channels, format="MP3", bitrate_mode="CONSTANT", compression_level=0.0
        )

    def encode(self, piece: np.ndarray) -> bytes:
        """See `Encoder.encode`."""
        # Not as integers, of which libsndfile 1.2 mixes the channels up.
        self._file.write(np.clip(piece, -1.0, 1.0).T)
        return self._sink.take()

    def end(self) -> bytes:
        """See `Encoder.end`."""
        self._file.close()
        return self._sink.take()


class _Sink(io.RawIOBase):
    """A file that is handed out as it is written; what is written again, as the number of frames at its end, is not."""

    def __init__(self) -> None:
        self._ready = bytearray()
        self._position = self._end = 0

    def take(self) -> bytes:
        """What was written since the last call."""
        ready, self._ready = bytes(self._ready), bytearray()
        return ready

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        return self._position

    def write(self, content: "bytes | memoryview") -> int:  # type: ignore[override]
        self._ready += memoryview(content)[max(0, self._end - self._position) :]
        self._position += len(content)
        self._end = max(self._end, self._position)
        return len(content)
