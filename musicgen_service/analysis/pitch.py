"""Level of each semitone over time, and triad templates."""

import numpy as np
from numpy.typing import NDArray

LOWEST, SEMITONES = 33, 60  # MIDI: 55 Hz to 1.7 kHz
_HOP = 512
PITCH_RATE = 22_050 / _HOP  # frames per second
_BLOCK, _MARGIN = 2048, 64  # frames that are transformed at once, and of context on both sides (1.5 s)
_TUNING_SECONDS = 60
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
    # Imported here: the import takes a second, and few requests need pitches.
    import librosa

    frames = 1 + len(audio) // _HOP
    semitones = np.empty((SEMITONES, frames), np.float32)
    # The transform of a long recording would not fit in memory.
    for start in range(0, frames, _BLOCK):
        before = min(start, _MARGIN)
        bins = librosa.cqt(
            audio[(start - before) * _HOP : (start + _BLOCK + _MARGIN) * _HOP],
            sr=rate,
            hop_length=_HOP,
            fmin=librosa.midi_to_hz(LOWEST - 1 / 3 + tuning),
            n_bins=3 * SEMITONES,
            bins_per_octave=36,
            filter_scale=0.6,
            tuning=0.0,
        )
        parts = np.abs(bins[:, before : before + min(_BLOCK, frames - start)])
        semitones[:, start : start + _BLOCK] = parts.reshape(SEMITONES, 3, -1).max(axis=1)
    return np.log1p(100 * semitones / max(float(semitones.max()), 1e-9))


def tuning_of(audio: NDArray[np.float32], rate: int) -> float:
    """By how many semitones, -0.5 to 0.5, ``[samples]`` are tuned above concert pitch; 0 for what is near enough to it.

    Read from their middle minute.
    """
    import librosa

    start = max(0, len(audio) - _TUNING_SECONDS * rate) // 2
    pitches, strengths = librosa.piptrack(y=audio[start : start + _TUNING_SECONDS * rate], sr=rate)
    if not strengths.any():
        return 0.0
    strong = strengths >= np.median(strengths[strengths > 0])
    found = float(librosa.pitch_tuning(pitches[strong]))
    return found if abs(found) > _IN_TUNE else 0.0


def fold(semitones: Array) -> Array:
    """Fold semitone levels ``[SEMITONES, frames]`` from LOWEST to pitch classes ``[12, frames]``, C first."""
    classes = np.zeros((12, semitones.shape[1]))
    np.add.at(classes, (LOWEST + np.arange(len(semitones))) % 12, semitones)
    return classes
