"""Evidence for which beats begin the bars, where beats are known: what sounds at each place of a bar.

There is more of it than `metre_evidence` has for all the beats that a recording might have: rises in narrow bands tell
of voices that enter, and what is above a mean may count otherwise than what is below it.
"""

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.beat_levels import BeatLevels
from musicgen_service.analysis.envelopes import BANDS
from musicgen_service.analysis.metre import METRES, Beats, Metre
from musicgen_service.analysis.metre_evidence import ACTIVATION, Sound

Array = NDArray[np.float64]
_LEAST = 0.01  # probability whose logarithm is taken


def evidence(sound: Sound, beats: Beats) -> Array:
    """Compute the features of all `metre.readings` of beats, ``[readings, features]``."""
    found = BeatLevels.at(sound.wide, beats.frames, (0.0,))
    networks = found.values[len(BANDS) : len(sound.rows)]
    rows = np.concatenate([found.values, np.log(networks / ACTIVATION + _LEAST)])
    means = (rows * found.inside).sum(axis=1, keepdims=True) / max(int(found.inside.sum()), 1)
    levels = BeatLevels(np.concatenate([rows, np.maximum(rows - means, 0)]) * found.inside, found.inside)
    return np.concatenate([_bar(levels, metre) for metre in METRES])


def _bar(levels: BeatLevels, metre: Metre) -> Array:
    """How each beat, those around it and the third of four differ from others, and every other one from all."""
    difference, third, every_other = levels.contrasts(metre.beats)
    parts = [difference, third, every_other, np.roll(difference, -1, axis=1), np.roll(difference, 1, axis=1)]
    return np.concatenate(parts).T
