"""The two decoders: libsndfile for PCM, ffmpeg for everything else.

libsndfile reads the headers of PCM files best: 20-bit samples in 32-bit words, big-endian wav, aiff from a pipe. It is
used for hardly any compressed format, because it stops at the length that a header claims or that it has guessed, and
because it decodes in this process. Where it finds no samples, the size in the header may be wrong, and ffmpeg decides.
It also decodes an Ogg file with a single page of sound, because ffmpeg misses the end of such a file by 3 ms.

ffmpeg runs in a separate process. It reads the file as its standard input and can open nothing else, whatever that
file refers to, and it writes to a pipe, so that no decoded copy is stored on disk.
"""

import mmap
import os
import struct
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from musicgen_service.audio import ffmpeg, kinds, ogg
from musicgen_service.notes import note

_PCM_MAGIC = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM")
_PCM = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
# Without the ADPCM family, whose decoders have a history of CVEs.
_DEMUXERS = "wav,w64,aiff,caf,flac,ogg,mp3,aac,mov,matroska,webm,asf,amr"
_DECODERS = ",".join(
    [
        *("aac", "alac", "amrnb", "amrwb", "flac", "mp3", "mp3float", "opus", "vorbis", "wmav1", "wmav2"),
        *("pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
        *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_mulaw", "pcm_alaw"),
    ]
)
_BLOCK = 65_536
"""Frames that libsndfile decodes at a time."""
_EXTENSIBLE = 0xFFFE
"""Tag of the wav format that names its speakers."""


class AudioError(ValueError):
    """The file cannot be used as audio; the message says why in one sentence."""


class Part(Protocol):
    """A part of a file with constant sample rate and channels.

    Attributes
    ----------
    rate : samples per second
    channels : number of channels, not yet checked against the limits
    mask : speakers of the channels, as in a WAVEFORMATEXTENSIBLE; 0 when unknown
    """

    rate: int
    channels: int
    mask: int

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the samples as float32 arrays [frames, channels]; raises `AudioError` when the data are damaged."""


def parts(path: Path, file: BinaryIO, content: mmap.mmap) -> Generator[Part]:
    """Decode a file, given by its path, open file and memory map; closing the generator stops the decoding.

    Raises
    ------
    AudioError
        When the format is not accepted.
    """
    start = _after_tags(content)
    magic = content[start : start + 4]
    exact = magic in _PCM_MAGIC or (magic == ogg.MAGIC and ogg.has_one_page_of_sound(content))
    if exact and (sound := _open_sndfile(path)):
        with sound:
            yield _SndfilePart(sound, _speakers(content, start))
        return
    spans = (ogg.links(content) if magic == ogg.MAGIC else None) or [(start, len(content))]
    rate = None
    for number, span in enumerate(spans):
        with closing(_FfmpegPart(file, content, span, rate)) as part:
            try:
                part.open()
            except AudioError:
                if number == 0:
                    raise
                note("A part of the audio file cannot be decoded and is left out.")
                continue
            rate = rate or part.rate
            yield part


def _after_tags(content: mmap.mmap) -> int:
    """Return the offset after misplaced ID3 tags in PCM and Ogg files; 0 for other formats, where ffmpeg skips them."""
    position = 0
    while content[position : position + 3] == b"ID3" and position + 10 <= len(content):
        size = 0
        for byte in content[position + 6 : position + 10]:
            size = size << 7 | byte & 0x7F
        position += 10 + size
    return position if content[position : position + 4] in (*_PCM_MAGIC, ogg.MAGIC) else 0


def _open_sndfile(path: Path) -> soundfile.SoundFile | None:
    """Open a file with libsndfile, if it is one that libsndfile should decode."""
    try:
        sound = soundfile.SoundFile(os.fsencode(path))
    except (soundfile.SoundFileError, RuntimeError):
        return None
    short = sound.format == "OGG" and sound.channels <= 2
    if (sound.subtype in _PCM or short) and sound.frames > 0:
        return sound
    sound.close()
    return None


def _speakers(content: mmap.mmap, start: int) -> int:
    """Read the speaker mask of a wav file, which libsndfile does not expose."""
    form = content.find(b"fmt ", start, start + 2**16)
    header = 24 if content[start : start + 4] == b"riff" else 8
    if form < 0 or form + header + 24 > len(content):
        return 0
    tag, mask = struct.unpack_from("<H18xI", content, form + header)
    return mask if tag == _EXTENSIBLE else 0


class _SndfilePart:
    """A file decoded by libsndfile."""

    def __init__(self, sound: soundfile.SoundFile, mask: int) -> None:
        self._sound = sound
        self.rate, self.channels, self.mask = int(sound.samplerate), int(sound.channels), mask

    def blocks(self) -> Iterator[np.ndarray]:
        while len(block := self._next()):
            yield block

    def _next(self) -> np.ndarray:
        try:
            block: np.ndarray = self._sound.read(_BLOCK, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, RuntimeError):
            raise AudioError("the audio file is damaged.") from None
        return block


class _FfmpegPart:
    """A part of a file decoded by ffmpeg to a wav stream of float32 samples.

    Parameters
    ----------
    span : its first byte and its end
    rate : sample rate to convert it to; None to keep its own
    """

    def __init__(self, file: BinaryIO, content: mmap.mmap, span: tuple[int, int], rate: int | None) -> None:
        self._content, self._span = content, span
        first, last = span
        is_complete_file = span == (0, len(content))
        source = "fd:" if is_complete_file else f"subfile,,start,{first},end,{last},,:fd:"
        options = ["-threads", "1", "-format_whitelist", _DEMUXERS, "-codec_whitelist", _DECODERS]
        # Without this, ffmpeg would guess the layout of unnamed channels; `channels` does that here.
        options += ["-guess_layout_max", "0", "-i", source, "-map", "0:a:0", "-map_metadata", "-1"]
        options += ["-ar", str(rate)] if rate else []
        options += ["-c:a", "pcm_f32le", "-fflags", "+bitexact", "-f", "wav", "pipe:1"]
        protocols = "fd,pipe" if is_complete_file else "subfile,fd,pipe"
        os.lseek(file.fileno(), 0, os.SEEK_SET)  # the decoder of another part has moved the position
        self._program = ffmpeg.Program(options, protocols=protocols, source=file)
        self._output = self._program.output()
        self._buffered = b""
        self.rate = self.channels = self.mask = 0

    def open(self) -> None:
        """Start ffmpeg and read the header of its output."""
        head = b""
        try:
            while len(head) < 20 or len(head) < 28 + int.from_bytes(head[16:20], "little"):
                head += next(self._output)
        except (StopIteration, ffmpeg.FfmpegError):
            raise self._refusal() from None
        tag, self.channels, self.rate = struct.unpack_from("<HHI", head, 20)
        self.mask = int.from_bytes(head[40:44], "little") if tag == _EXTENSIBLE else 0
        self._buffered = head[28 + int.from_bytes(head[16:20], "little") :]

    def blocks(self) -> Iterator[np.ndarray]:
        frames = 0
        try:
            while True:
                size = len(self._buffered) - len(self._buffered) % (4 * self.channels)
                if size:
                    block = np.frombuffer(self._buffered[:size], "<f4").reshape(-1, self.channels)
                    frames += len(block)
                    yield block
                self._buffered = self._buffered[size:] + next(self._output)
        except StopIteration:
            pass
        except ffmpeg.FfmpegError as error:
            if error.stopped:
                raise AudioError(f"the audio file takes more than {ffmpeg.TIMEOUT:.0f} s to decode.") from None
            raise AudioError("the audio file is damaged.") from None
        if frames < _flac_frames(self._content, self._span[0]) and "[flac" in self._program.error_output:
            raise AudioError("the audio file is damaged.")

    def close(self) -> None:
        """Stop ffmpeg."""
        self._output.close()

    def _refusal(self) -> AudioError:
        head = self._content[self._span[0] : self._span[0] + 1024]
        return AudioError(kinds.refusal(head, self._program.error_output))


def _flac_frames(content: mmap.mmap, start: int) -> int:
    """Read the number of samples per channel from 36 bits of a FLAC header (RFC 9639, section 8.2).

    FLAC has checksums, so its header can be trusted: a file with fewer samples and decoding errors is damaged.
    """
    if content[start : start + 4] != b"fLaC":
        return 0
    return int.from_bytes(content[start + 21 : start + 26]) & (2**36 - 1)
