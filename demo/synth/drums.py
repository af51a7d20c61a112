"""Drum kits: kick, snare, hat and tom, made from fixed noise so that equal hits have equal samples."""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from demo.synth.song import Audio
from demo.synth.timbres import SAMPLE_RATE


class Kit(NamedTuple):
    """Parameters of a kit: kick sweep and length, snare tone and length, hi-hat length, levels."""

    kick_high: float
    kick_low: float
    kick_decay: float
    snare_tone: float
    snare_decay: float
    hat_decay: float
    level: float


KITS = {
    "acoustic": Kit(160, 50, 0.10, 190, 0.09, 0.030, 1.0),
    "soft": Kit(110, 45, 0.12, 165, 0.06, 0.022, 0.65),
    "electronic": Kit(210, 48, 0.13, 220, 0.08, 0.035, 1.05),
    "hard": Kit(260, 55, 0.08, 240, 0.11, 0.025, 1.1),
}


def _noise(samples: int, brightness: int) -> NDArray[np.float64]:
    """White noise differentiated `brightness` times: each time tilts it up by 6 dB an octave."""
    noise = np.random.default_rng(7).standard_normal(samples + brightness)
    noise = np.diff(noise, n=brightness)
    return np.asarray(noise / np.abs(noise).max())


def _swept(high: float, low: float, decay: float, seconds: float) -> NDArray[np.float64]:
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    frequency = low + (high - low) * np.exp(-time / 0.03)
    return np.asarray(np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE) * np.exp(-time / decay))


@cache
def hit(kit: str, sound: str) -> Audio:
    """The waveform of one hit, float32 ``[samples]``, at the kit's own level."""
    k = KITS[kit]
    if sound == "kick":
        wave = 0.9 * _swept(k.kick_high, k.kick_low, k.kick_decay, 0.35)
    elif sound == "tom":
        wave = 0.6 * _swept(k.kick_high, k.kick_low * 2.2, k.kick_decay, 0.25)
    elif sound == "snare":
        time = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
        body = 0.5 * np.sin(2 * np.pi * k.snare_tone * time) * np.exp(-time / 0.05)
        wave = 0.8 * (body + 0.6 * _noise(len(time), 1) * np.exp(-time / k.snare_decay))
    else:
        time = np.arange(int(0.12 * SAMPLE_RATE)) / SAMPLE_RATE
        wave = 0.4 * _noise(len(time), 2) * np.exp(-time / k.hat_decay)
    fade = SAMPLE_RATE // 50
    wave[-fade:] *= np.linspace(1, 0, fade)
    return (k.level * wave).astype(np.float32)


def add_hit(buffer: Audio, kit: str, sound: str, start: int, level: float) -> None:
    """Add a hit at sample `start`, which may lie before or run past the buffer."""
    wave = hit(kit, sound)
    first, last = max(start, 0), min(start + len(wave), len(buffer))
    if last > first:
        buffer[first:last] += np.float32(level) * wave[first - start : last - start]
