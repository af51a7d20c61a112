"""Instruments by additive synthesis: sums of sinusoids, all of them tones of the equal-tempered scale.

The phase of a tone follows from the time since the start of the clip alone, not from when a note begins (a tonewheel
organ works like that). This is what lets the demo codec leave phase out of its codes; see docs/demo-training.md.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from demo.synth.song import Audio

SAMPLE_RATE = 32_000
MAX_TONE = 104  # MIDI; 3.3 kHz, the highest that the codec's features measure
MAX_NOTE_SECONDS = 4.0
RELEASE = 0.02  # seconds a note takes to stop


@dataclass(frozen=True)
class Timbre:
    """How an instrument sounds.

    Attributes
    ----------
    partials : pairs of (semitones above the note, amplitude)
    decay : seconds in which the fundamental falls to 1/e; higher partials fall faster; 0 sustains
    attack : seconds to full level
    """

    partials: tuple[tuple[int, float], ...]
    decay: float
    attack: float


# Harmonics 1 to 8 land 0, 12, 19, 24, 28, 31, 34 and 36 semitones above the note.
TIMBRES = {
    "piano": Timbre(((0, 1.0), (12, 0.5), (19, 0.25), (24, 0.16), (28, 0.08), (36, 0.04)), 0.8, 0.004),
    "rhodes": Timbre(((0, 1.0), (12, 0.12), (36, 0.16)), 1.1, 0.004),
    "organ": Timbre(((0, 0.7), (12, 0.6), (19, 0.35), (24, 0.3), (36, 0.12)), 0.0, 0.012),
    "guitar": Timbre(((0, 0.9), (12, 0.7), (19, 0.5), (24, 0.35), (28, 0.2), (31, 0.12)), 0.4, 0.003),
    "bell": Timbre(((0, 0.8), (24, 0.45), (40, 0.25)), 0.7, 0.002),
    "marimba": Timbre(((0, 1.0), (24, 0.35)), 0.16, 0.002),
    "synth": Timbre(((0, 0.9), (12, 0.45), (19, 0.3), (24, 0.22), (28, 0.18), (31, 0.15), (36, 0.1)), 0.0, 0.008),
    "square": Timbre(((0, 0.9), (19, 0.3), (28, 0.18), (34, 0.12)), 0.0, 0.006),
    "flute": Timbre(((0, 1.0), (12, 0.22), (19, 0.08)), 0.0, 0.05),
    "strings": Timbre(((0, 0.8), (12, 0.4), (19, 0.25), (24, 0.18), (28, 0.1)), 0.0, 0.09),
    "pad": Timbre(((0, 0.9), (12, 0.35), (19, 0.1)), 0.0, 0.12),
    "bass": Timbre(((0, 1.0), (12, 0.6), (19, 0.25), (24, 0.12)), 0.7, 0.005),
    "synth bass": Timbre(((0, 0.9), (12, 0.6), (19, 0.4), (24, 0.3), (28, 0.18)), 0.0, 0.006),
}


@cache
def _decay(timbre: str, partial: int) -> Audio:
    """A partial's level from its attack on, for as long as any note lasts."""
    shape = TIMBRES[timbre]
    semitones, amplitude = shape.partials[partial]
    time = np.arange(round(MAX_NOTE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    level = amplitude * np.minimum(1, time / shape.attack)
    if shape.decay:
        level *= np.exp(-time / shape.decay * (1 + semitones / 16))
    return level.astype(np.float32)


def _envelope(timbre: str, partial: int, samples: int) -> Audio:
    """A partial's level over a note of `samples` samples, its release included."""
    level = _decay(timbre, partial)[:samples].copy()
    ending = min(int(RELEASE * SAMPLE_RATE), samples)
    level[samples - ending :] *= np.linspace(1, 0, ending, dtype=np.float32)
    return level


def _tone(midi: int, first: int, samples: int) -> Audio:
    """A sinusoid from sample `first` on; its phase depends on the time and the tone alone."""
    frequency = 440 * 2 ** ((midi - 69) / 12)
    # Multiples of the golden ratio spread the tones' phases, so that chords do not all peak at once.
    begin = (frequency * first / SAMPLE_RATE + 0.618 * midi) % 1
    steps = np.arange(samples, dtype=np.float32) * np.float32(2 * np.pi * frequency / SAMPLE_RATE)
    wave: Audio = np.sin(steps + np.float32(2 * np.pi * begin))
    return wave


def add_note(buffer: Audio, timbre: str, midi: int, start: int, samples: int, level: float) -> None:
    """Add a note of `samples` samples at sample `start`, which may lie before or run past the buffer."""
    first, last = max(start, 0), min(start + samples, len(buffer))
    if last <= first:
        return
    for index, (semitones, _) in enumerate(TIMBRES[timbre].partials):
        if midi + semitones <= MAX_TONE:
            envelope = _envelope(timbre, index, samples)[first - start : last - start]
            buffer[first:last] += np.float32(level) * envelope * _tone(midi + semitones, first, last - first)
