"""Where hostile audio stops: what may be decoded, and how much of it.

A header's word is taken for nothing. Lengths are counted while decoding, block by block, so that a small
file that decodes to gigabytes costs no more than the limits below; formats are taken from a list of those
that music comes in, because a decoder that nobody needs is only a risk. libsndfile decodes what it can; it
opens no other file and no address. ffmpeg decodes the rest in a process of its own (see `ffmpeg`).
"""

import mmap
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from musicgen_service.audio import ffmpeg

MAX_SECONDS = 15 * 60
MAX_BYTES = 256 * 2**20
"""Of decoded float32 samples: a file may claim a sample rate at which any length is short."""
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8_000, 192_000
DEADLINE = 120.0
"""Seconds that decoding may take."""

_CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "FLAC", "OGG", "MP3")
# Without the ADPCM family: CVE-2026-37555 is in the libsndfile that soundfile 0.14 brings.
_SUBTYPES = (
    *("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"),
    *("VORBIS", "OPUS", "MPEG_LAYER_III"),
)
_DEMUXERS = "mov,matroska,webm,ogg,aac,asf,mp3"
_DECODERS = "aac,alac,opus,vorbis,wmav1,wmav2,mp3,mp3float,flac"
_PROTECTED = re.compile(rb"stsd.{12}(drms|enca)", re.DOTALL)
"""A sample description of an encrypted track (ISO/IEC 14496-12, 8.5.2); decoders make noise of it."""
_BLOCK = 65_536
"""Frames decoded at a time."""
_NO_AUDIO = "the file is not audio that can be decoded (wav, aiff, mp3, flac, ogg, m4a, webm)."


class AudioError(ValueError):
    """The file cannot be used as audio; the message says why in one sentence."""


class Decoder:
    """An open audio file that is within the limits so far.

    Attributes
    ----------
    rate : samples per second
    channels : 1 to `MAX_CHANNELS`
    """

    def __init__(self, file: soundfile.SoundFile) -> None:
        if file.format not in _CONTAINERS or file.subtype not in _SUBTYPES:
            raise AudioError(f"audio of the kind {file.format} {file.subtype} is not accepted; use wav, flac or mp3.")
        if not 1 <= file.channels <= MAX_CHANNELS:
            raise AudioError(f"the audio file has {file.channels} channels; 1 to {MAX_CHANNELS} are allowed.")
        if not MIN_RATE <= file.samplerate <= MAX_RATE:
            raise AudioError(
                f"the audio file has {file.samplerate} samples per second; {MIN_RATE} to {MAX_RATE} are allowed."
            )
        self._file = file
        self.rate = int(file.samplerate)
        self.channels = int(file.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        """The samples as float32 arrays [frames, channels], all finite.

        Raises
        ------
        AudioError
            As soon as a limit is passed, a sample is not a number, or the data are damaged; at the end
            when there was not one sample.
        """
        frames, end = 0, time.monotonic() + DEADLINE
        while len(block := self._next()):
            frames += len(block)
            if frames > MAX_SECONDS * self.rate:
                raise AudioError(f"the audio file is longer than {MAX_SECONDS // 60} minutes.")
            if frames * self.channels * 4 > MAX_BYTES:
                raise AudioError(f"the audio file takes more than {MAX_BYTES >> 20} MiB of memory when decoded.")
            if not np.isfinite(block).all():
                raise AudioError("the audio file holds samples that are not numbers.")
            if time.monotonic() > end:
                raise AudioError(f"the audio file takes more than {DEADLINE:.0f} s to decode.")
            yield block
        if frames == 0:
            raise AudioError("the audio file holds no sound.")

    def _next(self) -> np.ndarray:
        try:
            block: np.ndarray = self._file.read(_BLOCK, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError):
            raise AudioError("the audio file is damaged.") from None
        return block


@contextmanager
def decoder(path: Path) -> Iterator[Decoder]:
    """Open a file of any accepted kind; raises `AudioError` for others."""
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, RuntimeError):
        with _transcoded(path) as wav, soundfile.SoundFile(wav) as file:
            yield Decoder(file)
        return
    with file:
        yield Decoder(file)


@contextmanager
def _transcoded(path: Path) -> Iterator[Path]:
    if _is_protected(path):
        raise AudioError("the audio file is copy-protected (DRM).")
    with tempfile.TemporaryDirectory(prefix="musicgen-decode-") as folder:
        wav = Path(folder) / "audio.wav"
        # A little over the limits, so that what is too long or too large is seen to be.
        limits = ["-t", str(MAX_SECONDS + 1), "-fs", str(MAX_BYTES // 2 + _BLOCK * MAX_CHANNELS)]
        allowed = ["-threads", "1", "-format_whitelist", _DEMUXERS, "-codec_whitelist", _DECODERS]
        target = ["-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "wav", str(wav)]
        try:
            ffmpeg.run([*allowed, "-i", str(path.resolve()), *limits, *target])
            soundfile.info(wav)
        except (ffmpeg.FfmpegError, soundfile.SoundFileError):
            raise AudioError(_NO_AUDIO) from None
        yield wav


def _is_protected(path: Path) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _PROTECTED.search(content) is not None
