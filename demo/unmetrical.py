"""Sounds without a beat, from which the beat tracker learns what none is: speech, drones, calls, irregular notes.

Speech is made of the prompts of Debian's packages `asterisk-core-sounds-LANGUAGE-wav`, spoken by people, in all of
LANGUAGES, so that a number always makes the same sound.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy  # submodules are imported on first use
import soundfile
import soxr
from numpy.typing import NDArray

from demo.synth.drums import add_hit
from demo.synth.timbres import SAMPLE_RATE, TIMBRES, add_note

Audio = NDArray[np.float32]
Random = np.random.Generator
Kind = Callable[[Random], Audio]
PROMPTS = Path("/usr/share/asterisk/sounds")
LANGUAGES = ("en", "es", "fr", "it", "ru")
_PROMPT_RATE = 8000
_DRUMS = ("kick", "snare", "hat")


def sound(seed: int) -> Audio:
    """One of them, ``[samples]`` at SAMPLE_RATE.

    Raises
    ------
    FileNotFoundError
        A language has no prompts of which to make speech.
    """
    random = np.random.default_rng(seed)
    kinds: tuple[Kind, ...] = (speech, speech, tones, noise, calls, pads, notes)
    return kinds[seed % len(kinds)](random)


def speech(random: Random) -> Audio:
    """Prompts in one language one after another, with pauses; some with noise, some in a room."""
    language = LANGUAGES[int(random.integers(len(LANGUAGES)))]
    files = sorted((PROMPTS / language).rglob("*.wav"))
    if not files:
        package = f"asterisk-core-sounds-{language}-wav"
        raise FileNotFoundError(f"{PROMPTS} has no prompts in '{language}': run `apt-get install {package}`")
    seconds, parts = random.uniform(6, 25), [np.zeros(1, np.float32)]
    while sum(map(len, parts)) < seconds * _PROMPT_RATE:
        prompt, _ = soundfile.read(files[int(random.integers(len(files)))], dtype="float32")
        loud = np.flatnonzero(np.abs(prompt) > 0.01)
        if len(loud) > 0.3 * _PROMPT_RATE:
            parts += [prompt[loud[0] : loud[-1]], np.zeros(int(random.exponential(0.3) * _PROMPT_RATE), np.float32)]
    said = soxr.resample(np.concatenate(parts), _PROMPT_RATE * random.uniform(0.9, 1.15), SAMPLE_RATE)
    if random.random() < 0.5:
        said = said + random.normal(0, 10 ** random.uniform(-4, -2), len(said))
    if random.random() < 0.4:
        decay = np.exp(-6 * np.linspace(0, 1, int(SAMPLE_RATE * random.uniform(0.1, 0.8))))
        echoes = random.normal(size=len(decay)) * decay
        echoes[0] = 8
        said = scipy.signal.fftconvolve(said, echoes)[: len(said)]
    return _scaled(said)


def tones(random: Random) -> Audio:
    """A held tone, whose partials come and go."""
    time = _time(random)
    pitch = 55 * 2 ** (random.integers(0, 36) / 12)
    partials = [
        (0.6 + 0.3 * _slow(random, time, random.uniform(0.2, 2))) * np.sin(2 * np.pi * pitch * number * time) / number
        for number in (1, 1.5, 2, 3, 4, 5)
    ]
    return _scaled(np.sum(partials, axis=0) + random.normal(0, 0.01, len(time)))


def noise(random: Random) -> Audio:
    """Wind and water: a band of noise that swells irregularly."""
    time, low = _time(random), random.uniform(50, 2000)
    band = (low, low * random.uniform(1.5, 5))
    filtered = scipy.signal.sosfilt(
        scipy.signal.butter(2, band, "band", fs=SAMPLE_RATE, output="sos"), random.normal(size=len(time))
    )
    return _scaled(filtered * np.exp(0.8 * _slow(random, time, random.uniform(0.3, 3))))


def calls(random: Random) -> Audio:
    """Gliding tones at irregular times, as of animals."""
    time, at = _time(random), 0
    audio = random.normal(0, 0.003, len(time))
    while at < len(time):
        length = min(int(SAMPLE_RATE * random.uniform(0.2, 2)), len(time) - at)
        glide = np.linspace(0, random.normal(0, 0.6), length)
        vibrato = 0.05 * np.sin(np.linspace(0, random.uniform(0, 30), length))
        phase = 2 * np.pi * np.cumsum(random.uniform(80, 1500) * 2 ** (glide + vibrato)) / SAMPLE_RATE
        audio[at : at + length] += random.uniform(0.2, 1) * np.hanning(length) ** random.uniform(0.3, 1) * np.sin(phase)
        at += length + int(SAMPLE_RATE * random.exponential(0.7))
    return _scaled(audio)


def pads(random: Random) -> Audio:
    """A held chord of four tones that swells once."""
    time = _time(random)
    audio = np.zeros(len(time))
    for midi in random.choice(np.arange(40, 76), 4, replace=False):
        vibrato = 2 * np.sin(2 * np.pi * random.uniform(0.1, 0.4) * time + random.uniform(0, 6))
        audio += (1 + 0.3 * _slow(random, time, 0.5)) * np.sin(
            2 * np.pi * 440 * 2 ** ((midi - 69) / 12) * time + vibrato
        )
    return _scaled(audio * np.interp(time, [0, random.uniform(0.3, 3), time[-1]], [0, 1, random.uniform(0.3, 1)]))


def notes(random: Random) -> Audio:
    """Notes of one instrument, or drums, at irregular times."""
    time, at = _time(random), 0.2
    audio = np.zeros(len(time), np.float32)
    mean, shape, drums = random.uniform(0.15, 0.7), random.uniform(1, 2.5), random.random() < 0.3
    timbre = list(TIMBRES)[int(random.integers(len(TIMBRES)))]
    while at < time[-1] - 0.5:
        start = int(at * SAMPLE_RATE)
        if drums:
            add_hit(audio, "acoustic", _DRUMS[int(random.integers(3))], start, float(random.uniform(0.3, 1)))
        else:
            length = int(SAMPLE_RATE * min(random.uniform(0.1, 1.2), time[-1] - at))
            add_note(audio, timbre, int(random.integers(45, 80)), start, length, float(random.uniform(0.1, 0.4)))
        at += max(0.07, random.gamma(shape, mean / shape))
    return _scaled(audio)


def _time(random: Random) -> NDArray[np.float64]:
    """Seconds of the samples of 5 to 25 s."""
    return np.arange(int(SAMPLE_RATE * random.uniform(5, 25))) / SAMPLE_RATE


def _slow(random: Random, time: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """A random curve with `rate` corners a second."""
    corners = max(4, int(time[-1] * rate))
    return np.interp(time, np.linspace(0, time[-1], corners), random.normal(size=corners))


def _scaled(audio: NDArray[np.floating]) -> Audio:
    return np.asarray(audio / max(float(np.abs(audio).max()), 1e-9), np.float32)
