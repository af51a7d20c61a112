"""Level of each semitone over time, and triad templates."""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis import constant_q, mel

LOWEST, SEMITONES = 33, 60  # MIDI: 55 Hz to 1.7 kHz
_HOP = 512
PITCH_RATE = 22_050 / _HOP  # frames per second
_BLOCK, _MARGIN = 2048, 64  # frames that are transformed at once, and of context on both sides (1.5 s)
_A4 = 440.0  # Hz
_TUNING_SECONDS, _TUNING_WINDOW, _TUNING_RANGE = 60, 2048, (150.0, 4000.0)  # samples; Hz of the peaks that count
_TUNING_LEAST, _TUNING_STEPS = 0.1, 100  # of the strongest bin of a spectrum, which a peak has; of a semitone
_IN_TUNE = 0.15  # semitones: speech and drums seem to be off by as much, and no reader of chords minds it
NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

Array = NDArray[np.float64]


def _triads() -> Array:
    """Build unit pitch-class vectors ``[24, 12]``: C to B major, then C to B minor."""
    shapes = np.zeros((2, 12))
    shapes[0, [0, 4, 7]] = shapes[1, [0, 3, 7]] = 3**-0.5
    return np.array([np.roll(shape, root) for shape in shapes for root in range(12)])


TRIAD_VECTORS = _triads()


def levels(audio: NDArray[np.float32], rate: int, tuning: float = 0.0) -> Array:
    """Compute the logarithmic level of each semitone from LOWEST, ``[SEMITONES, frames]``, of 22,050 Hz ``[samples]``.

    Measured with three bins per semitone, so that music tuned slightly off `tuning`, in semitones above concert pitch,
    is covered as well.
    """
    frames = 1 + len(audio) // _HOP
    lowest = _A4 * 2 ** ((LOWEST - 69 - 1 / 3 + tuning) / 12)
    semitones = np.empty((SEMITONES, frames), np.float32)
    # The transform of a long recording would not fit in memory.
    for start in range(0, frames, _BLOCK):
        before = min(start, _MARGIN)
        part = audio[(start - before) * _HOP : (start + _BLOCK + _MARGIN) * _HOP]
        bins = constant_q.magnitudes(part, rate, _HOP, lowest, SEMITONES // 12, 36, filter_scale=0.6)
        wanted = bins[:, before : before + min(_BLOCK, frames - start)]
        semitones[:, start : start + _BLOCK] = wanted.reshape(SEMITONES, 3, -1).max(axis=1)
    return np.log1p(100 * semitones / max(float(semitones.max()), 1e-9))


def tuning_of(audio: NDArray[np.float32], rate: int) -> float:
    """By how many semitones, -0.5 to 0.5, ``[samples]`` are tuned above concert pitch; 0 for what is near enough to it.

    Read from the peaks of the spectra of their middle minute, as librosa does.
    """
    start = max(0, len(audio) - _TUNING_SECONDS * rate) // 2
    spectra = mel.magnitudes(audio[start : start + _TUNING_SECONDS * rate], _TUNING_WINDOW, _HOP)
    loud = np.where(spectra > _TUNING_LEAST * spectra.max(axis=0), spectra, 0)
    first, last = (round(np.ceil(edge * _TUNING_WINDOW / rate)) for edge in _TUNING_RANGE)
    below, here, above = (loud[first + shift : last + shift] for shift in (-1, 0, 1))
    bins, frames = np.nonzero((here > below) & (here >= above))
    if not len(bins):
        return 0.0
    # The top of a parabola through each peak and its neighbours, unless it is further off than they are.
    below, here, above = (spectra[first + shift + bins, frames] for shift in (-1, 0, 1))
    slope, bend = (above - below) / 2, above + below - 2 * here
    shifts = np.divide(-slope, bend, out=np.zeros_like(bend), where=np.abs(slope) < np.abs(bend))
    strengths = here + 0.5 * slope * shifts
    strong = strengths >= np.median(strengths)
    frequencies = ((first + bins + shifts)[strong] * rate / _TUNING_WINDOW).astype(np.float32)
    off = (12 * np.log2(frequencies / _A4) + 0.5) % 1 - 0.5
    counts, edges = np.histogram(off, np.linspace(-0.5, 0.5, _TUNING_STEPS + 1))
    found = float(edges[counts.argmax()])
    return found if abs(found) > _IN_TUNE else 0.0


def fold(semitones: Array) -> Array:
    """Fold semitone levels ``[SEMITONES, frames]`` from LOWEST to pitch classes ``[12, frames]``, C first."""
    classes = np.zeros((12, semitones.shape[1]))
    np.add.at(classes, (LOWEST + np.arange(len(semitones))) % 12, semitones)
    return classes
