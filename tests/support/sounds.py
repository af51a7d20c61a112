"""Sounds for tests."""

import numpy as np

from musicgen_service.audio.reading import AudioInput

RATE = 32_000


def tone(seconds: float, channels: int = 1, rate: int = RATE, amplitude: float = 0.3) -> np.ndarray:
    """A steady chord [channels, samples], float32; each channel a little different."""
    time = np.arange(round(seconds * rate)) / rate
    notes = [np.sin(2 * np.pi * frequency * time) for frequency in (220.0, 277.2, 329.6)]
    chord = amplitude * np.sum(notes, axis=0) / 3
    return np.stack([chord * (1 - 0.2 * channel) for channel in range(channels)]).astype(np.float32)


def recording(seconds: float, rate: int = RATE) -> AudioInput:
    """A decoded input file with a chord."""
    return AudioInput(tone(seconds, rate=rate), rate, "song.wav", "0" * 64)


def drums(seconds: float, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Sharp decaying hits over a quiet hum: far more peak than loudness."""
    rng = np.random.default_rng(0)
    samples = round(seconds * rate)
    sound = 0.003 * np.sin(np.arange(samples) * 0.05)
    for start in range(0, samples, rate // 2):
        length = min(rate // 20, samples - start)
        sound[start : start + length] += rng.standard_normal(length) * np.exp(-np.arange(length) / 200)
    return np.repeat(sound[None] / np.abs(sound).max(), channels, axis=0).astype(np.float32)
