"""Audio files of any common kind to float arrays."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from musicgen_service.audio import ffmpeg

MAX_SECONDS = 15 * 60
MAX_CHANNELS = 8
MIN_RATE, MAX_RATE = 8_000, 192_000


class AudioError(ValueError):
    """The file cannot be used as audio; the message says why in one sentence."""


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
    """Decode a file: libsndfile's formats (wav, flac, ogg, mp3) directly, others through ffmpeg.

    Raises
    ------
    AudioError
        When it is not audio, is empty, or is beyond the limits of this module.
    """
    with _open(path) as file:
        samples = file.read(dtype="float32", always_2d=True).T
        rate = file.samplerate
    if samples.shape[1] == 0:
        raise AudioError("the audio file holds no sound.")
    if not np.isfinite(samples).all():
        raise AudioError("the audio file holds samples that are not numbers.")
    return Audio(np.clip(samples, -1.0, 1.0), rate)


def seconds(path: Path) -> float:
    """Length of a file in seconds; raises `AudioError` as `read` does."""
    with _open(path) as file:
        return float(file.frames / file.samplerate)


@contextmanager
def _open(path: Path) -> Iterator[soundfile.SoundFile]:
    try:
        file = soundfile.SoundFile(path)
    except soundfile.LibsndfileError:
        with _transcoded(path) as wav, soundfile.SoundFile(wav) as file:
            yield _checked(file)
        return
    with file:
        yield _checked(file)


def _checked(file: soundfile.SoundFile) -> soundfile.SoundFile:
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise AudioError(f"the audio file has {file.channels} channels; 1 to {MAX_CHANNELS} are allowed.")
    if not MIN_RATE <= file.samplerate <= MAX_RATE:
        raise AudioError(
            f"the audio file has {file.samplerate} samples per second; {MIN_RATE} to {MAX_RATE} are allowed."
        )
    if file.frames > MAX_SECONDS * file.samplerate:
        raise AudioError(f"the audio file is longer than {MAX_SECONDS // 60} minutes.")
    return file


@contextmanager
def _transcoded(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="musicgen-decode-") as folder:
        wav = Path(folder) / "audio.wav"
        # One second over the limit, so that a longer file is seen to be longer.
        limit = ["-t", str(MAX_SECONDS + 1), "-map", "0:a:0", "-c:a", "pcm_s16le", "-f", "wav"]
        try:
            ffmpeg.run(["-i", str(path.resolve()), *limit, str(wav)])
        except ffmpeg.FfmpegError:
            raise AudioError("the file is not audio that can be decoded (wav, mp3, flac, ogg, m4a, webm).") from None
        yield wav
