"""Writing arrays to files: wav, flac and ogg with libsndfile, mp3 with pydub and ffmpeg."""

import errno
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from musicgen_service import folders
from musicgen_service.audio import child, ffmpeg, mp3_padding, riff, vorbis_comments
from musicgen_service.audio.tags import Tags

FORMATS = ("wav", "mp3", "flac", "ogg")
BIT_DEPTHS = {"wav": (16, 24, 32), "flac": (16, 24)}
"""Bits of a sample in the formats that have a choice; 32 are floating-point."""
MP3_BITRATE = "320k"
MP3_RATES = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
"""Samples per second that an mp3 may have (ISO/IEC 11172-3 and 13818-3, and MPEG 2.5)."""
_OGG_QUALITY = 0.1
"""libsndfile's compression level: 0 is the best quality, 1 the smallest file."""
_SUBTYPES = {16: "PCM_16", 24: "PCM_24", 32: "FLOAT"}
"""libsndfile's names."""
_DEPTHS = {"int16": 16, "int32": 24, "float32": 32}
_WITH_VORBIS_COMMENTS = ("ogg", "flac")
_MP3_EXPORT = Path(__file__).with_name("mp3_export.py")


class EncodingError(RuntimeError):
    """The file could not be written completely; the partial file was removed."""


class _Mp3Error(RuntimeError):
    """The mp3 encoder failed; the message is its complete output, including paths."""


def write(samples: np.ndarray, rate: int, path: Path, tags: Tags, bit_depth: int = 16) -> None:
    """Write a clip to `path`, in the format of its suffix. The file appears only when it is complete.

    Parameters
    ----------
    samples : float32 array [channels, samples] within ±1; mp3 and ogg code 16-bit integers
    rate : samples per second
    tags : written as the format's own
    bit_depth : of a format that has `BIT_DEPTHS`, one of them

    Raises
    ------
    EncodingError
        When the disk is full, the folder is not writable, or the encoder fails.
    """
    pcm = quantised(samples, bit_depth if path.suffix[1:] in BIT_DEPTHS else 16)
    unfinished = path.with_name(f".{path.name}")
    try:
        with _report_full_disk(path.parent):
            if path.suffix == ".mp3":
                _write_mp3(pcm, rate, unfinished, tags)
            else:
                _write_sndfile(pcm, rate, unfinished, path.suffix[1:], tags)
            # A full disk may only show when the file is read back.
            if soundfile.info(os.fsencode(unfinished)).frames != len(pcm):
                raise OSError("it did not arrive whole")
        unfinished.replace(path)
    except _Mp3Error as error:
        raise EncodingError(f"{path.name} could not be written: the mp3 encoder failed") from error
    except (OSError, soundfile.SoundFileError, RuntimeError, AssertionError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "it did not arrive whole"
        reason = reason.replace(f"{path.parent}/", "")
        raise EncodingError(f"{path.name} could not be written: {reason}") from error
    finally:
        unfinished.unlink(missing_ok=True)


def seconds(path: Path) -> float:
    """Length of a file written by `write`, which has verified the header that this reads."""
    return float(soundfile.info(os.fsencode(path)).duration)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Convert float [channels, samples] within ±1 to int16 [samples, channels]."""
    # By 32768, as decoders divide: what was read from a file of 16 bits is written as it was.
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype("<i2").T.copy()


def quantised(samples: np.ndarray, bit_depth: int) -> np.ndarray:
    """Convert float [channels, samples] within ±1 to what is stored, [samples, channels].

    Returns
    -------
    int16 for 16 bits, int32 whose lowest byte is 0 for 24, float32 for 32
    """
    if bit_depth == 32:
        return np.clip(samples, -1.0, 1.0).T.astype(np.float32)
    if bit_depth == 16:
        return to_int16(samples)
    return np.clip(np.round(samples.T.astype(np.float64) * 2**23), -(2**23), 2**23 - 1).astype(np.int32) << 8


def to_float(pcm: np.ndarray) -> np.ndarray:
    """Convert what `quantised` returns back to float32 [channels, samples]."""
    if pcm.dtype == np.float32:
        return pcm.T.copy()
    return (pcm.T / (2.0**15 if pcm.dtype == np.int16 else 2.0**31)).astype(np.float32)


def stored(samples: np.ndarray, bit_depth: int) -> np.ndarray:
    """Round float32 [channels, samples] to the values that a file can hold."""
    return to_float(quantised(samples, bit_depth))


def read_pcm(path: Path) -> tuple[np.ndarray, int]:
    """Read a file written by `write`: what `quantised` stored in it, and samples per second."""
    with soundfile.SoundFile(os.fsencode(path)) as file:
        bit_depth = next((bits for bits, name in _SUBTYPES.items() if name == file.subtype), 16)
        [kind] = (kind for kind, bits in _DEPTHS.items() if bits == bit_depth)
        return file.read(dtype=kind, always_2d=True), file.samplerate


def _write_sndfile(pcm: np.ndarray, rate: int, path: Path, container: str, tags: Tags) -> None:
    subtype = _SUBTYPES[_DEPTHS[pcm.dtype.name]]
    options = {"compression_level": _OGG_QUALITY} if container == "ogg" else {"subtype": subtype}
    comments = tags.vorbis_comments if container in _WITH_VORBIS_COMMENTS else []
    with soundfile.SoundFile(os.fsencode(path), "w", rate, pcm.shape[1], format=container.upper(), **options) as file:
        if comments:
            file.date = vorbis_comments.placeholder(comments)
        file.title, file.comment, file.software = tags.title, tags.comment, tags.software
        # One second at a time: libsndfile's Vorbis encoder crashes on long stereo buffers.
        for start in range(0, len(pcm), rate):
            file.write(pcm[start : start + rate])
    if comments:
        vorbis_comments.fill(path, comments)
    if container == "wav" and pcm.dtype == np.float32:
        riff.remove_time(path)
    if container == "wav" and tags.music.beats:
        riff.add_loop(path, len(pcm), rate, tags.music)


def _write_mp3(pcm: np.ndarray, rate: int, path: Path, tags: Tags) -> None:
    metadata = {"title": tags.title, "comment": tags.comment, "encoded_by": tags.software, **tags.id3}
    samples = pcm.reshape(-1).view(np.uint8).data
    # The disk is checked while pydub's temporary files still exist.
    with (
        tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch,
        _report_full_disk(path.parent),
    ):
        # -P: the script must find pydub, but not the modules in its own folder.
        command = [sys.executable, "-P", str(_MP3_EXPORT), ffmpeg.path(), str(rate), str(pcm.shape[1])]
        command += [str(len(samples)), MP3_BITRATE, str(path), scratch, json.dumps(metadata)]
        done = child.run(command, samples)
        if done.returncode:
            if done.stdout.strip().isdigit():
                number = int(done.stdout)
                raise OSError(number, os.strerror(number))
            raise _Mp3Error(done.stderr.decode(errors="replace"))
    if 0 < (more := soundfile.info(os.fsencode(path)).frames - len(pcm)) <= mp3_padding.MOST:
        mp3_padding.add(path, more)


@contextmanager
def _report_full_disk(folder: Path) -> Iterator[None]:
    """Turn an encoder's error on a full disk into that of a full disk: libsndfile and ffmpeg do not give the reason."""
    try:
        yield
    except (OSError, soundfile.SoundFileError, _Mp3Error) as error:
        if folder.is_dir() and folders.is_full(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise
