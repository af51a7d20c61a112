"""Evidence for which beats begin the bars, where beats are known: what sounds at each place of a bar.

There is more of it than `metre_evidence` has for all the beats that a recording might have: rises in narrow bands tell
of voices that enter, and what is above a mean may count otherwise than what is below it.
"""

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis.beat_levels import BeatLevels
from musicgen_service.analysis.envelopes import BANDS
from musicgen_service.analysis.metre import METRES, Beats, Metre
from musicgen_service.analysis.metre_evidence import NEAR, Sound

Array = NDArray[np.float64]
_NETWORKS = slice(len(BANDS), None)
_CERTAIN, _LEAST = 8.0, 0.01  # of what networks hear


class BarEvidence:
    """Computes the features of the bars of one recording.

    Parameters
    ----------
    sound : the recording
    """

    def __init__(self, sound: Sound) -> None:
        rows = np.concatenate([sound.rows, sound.rises])
        # An onset also counts for the frames around it.
        self._wide = scipy.ndimage.maximum_filter1d(rows, NEAR, axis=1)
        self._networks = slice(_NETWORKS.start, len(sound.rows))

    def of(self, beats: Beats) -> Array:
        """The features of all `metre.readings` of beats, ``[readings, features]``."""
        found = BeatLevels.at(self._wide, beats.frames, (0.0,))
        rows = np.concatenate([found.values, np.log(found.values[self._networks] / _CERTAIN + _LEAST)])
        count = max(int(found.inside.sum()), 1)
        means = (rows * found.inside).sum(axis=1, keepdims=True) / count
        levels = BeatLevels(np.concatenate([rows, np.maximum(rows - means, 0)]) * found.inside, found.inside)
        return np.concatenate([_bar(levels, metre) for metre in METRES])


def _bar(levels: BeatLevels, metre: Metre) -> Array:
    """How each beat, those around it and the third of four differ from others, and every other one from all."""
    on = levels.means(metre.beats)[:, :, 0]
    difference = on - on.mean(axis=1, keepdims=True)
    third = np.roll(difference, -2, axis=1) if metre.beats == 4 else np.zeros_like(on)
    every_other = levels.every_other(metre.beats)[:, :, 0] - on
    parts = [difference, third, every_other, np.roll(difference, -1, axis=1), np.roll(difference, 1, axis=1)]
    return np.concatenate(parts).T
