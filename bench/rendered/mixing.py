"""What recordings do to sound: levels, a room, compression, narrow bands, noise, codecs."""

import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.rendered.midi import RATE
from musicgen_service.audio.lufs import integrated_loudness

import imageio_ffmpeg
import numpy as np
import scipy
import soundfile
from numpy.typing import NDArray

Samples = NDArray[np.float32]
CODECS = {"mp3": ("libmp3lame", "mp3", (32, 48, 64, 128)), "opus": ("libopus", "ogg", (16, 24, 48))}
_PRE_DELAY = 0.012  # seconds before the room answers
_COMPRESSOR_SECONDS = (0.005, 0.12)  # attack and release


def mixed(groups: list[tuple[Samples, float]]) -> Samples:
    """Sum groups of players, each at a level in dB relative to the others; silent ones add nothing."""
    total = np.zeros_like(groups[0][0])
    for samples, level in groups:
        rms = float(np.sqrt((samples.astype(float) ** 2).mean()))
        if rms > 0:
            total += samples * np.float32(10 ** (level / 20) / rms)
    return total / np.float32(max(float(np.abs(total).max()), 1e-9))


def reverberated(samples: Samples, seconds: float, wet: float, random: np.random.Generator) -> Samples:
    """A room of decaying noise; `seconds` is the time to -60 dB, `wet` its share of the energy."""
    time = np.arange(int(1.2 * seconds * RATE)) / RATE
    response = random.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    response = scipy.signal.lfilter([0.4], [1, -0.6], response)
    response = np.concatenate([np.zeros(int(_PRE_DELAY * RATE)), response])
    room = scipy.signal.fftconvolve(samples, response)[: len(samples)]
    dry_rms, room_rms = (np.sqrt((part.astype(float) ** 2).mean()) for part in (samples, room))
    return (np.sqrt(1 - wet) * samples + np.sqrt(wet) * room * (dry_rms / max(room_rms, 1e-9))).astype(np.float32)


def compressed(samples: Samples, ratio: float) -> Samples:
    """Compress above 20 dB under the peak."""
    level = np.maximum(np.abs(samples), 1e-5)
    hop = 64
    blocks = level[: len(level) // hop * hop].reshape(-1, hop).max(axis=1)
    envelope, last = np.empty_like(blocks), 0.0
    attack, release = (float(np.exp(-hop / RATE / seconds)) for seconds in _COMPRESSOR_SECONDS)
    for index, value in enumerate(blocks):
        keep = attack if value > last else release
        last = keep * last + (1 - keep) * float(value)
        envelope[index] = last
    decibels = 20 * np.log10(np.maximum(envelope / max(float(envelope.max()), 1e-9), 1e-5))
    gain = -(1 - 1 / ratio) * np.maximum(decibels + 20, 0)
    curve = np.interp(np.arange(len(samples)), hop * np.arange(len(gain)), gain)
    return (samples * 10 ** (curve / 20)).astype(np.float32)


def narrowed(samples: Samples, low: float, high: float) -> Samples:
    """Keep the band from `low` to `high`, in Hz."""
    sections = scipy.signal.butter(2, (low, high), "bandpass", fs=RATE, output="sos")
    return scipy.signal.sosfilt(sections, samples).astype(np.float32)


def noisy(samples: Samples, snr: float, random: np.random.Generator) -> Samples:
    """Add hiss, `snr` dB under the music."""
    rms = float(np.sqrt((samples.astype(float) ** 2).mean()))
    hiss = random.standard_normal(len(samples)) * rms * 10 ** (-snr / 20)
    return samples + hiss.astype(np.float32)


def coded(samples: Samples, codec: str, kilobits: int) -> Samples:
    """Encode and decode; the result is as long as what was given, and in time with it.

    Raises
    ------
    subprocess.CalledProcessError
        ffmpeg failed.
    """
    encoder, ending, _ = CODECS[codec]
    with TemporaryDirectory() as folder:
        # Files, not pipes: how many samples an encoder put before the first is written last.
        given, encoded, decoded = (Path(folder) / name for name in ("given.wav", f"encoded.{ending}", "decoded.wav"))
        soundfile.write(given, samples, RATE, "FLOAT")
        _ffmpeg("-i", str(given), "-c:a", encoder, "-b:a", f"{kilobits}k", str(encoded))
        _ffmpeg("-i", str(encoded), "-ar", str(RATE), "-c:a", "pcm_f32le", str(decoded))
        heard, _ = soundfile.read(decoded, dtype="float32")
    return np.pad(heard[: len(samples)], (0, max(0, len(samples) - len(heard))))


def _ffmpeg(*options: str) -> None:
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *options], check=True)


def levelled(samples: Samples, lufs: float) -> Samples:
    """Bring to a loudness; peaks beyond full scale are clipped softly, as limiters do."""
    now = integrated_loudness(samples[None], RATE)
    louder = samples * np.float32(10 ** ((lufs - now) / 20)) if np.isfinite(now) else samples
    over = np.abs(louder) > 0.8
    louder[over] = np.sign(louder[over]) * (0.8 + 0.2 * np.tanh((np.abs(louder[over]) - 0.8) / 0.2))
    return louder
