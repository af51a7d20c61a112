"""What sounds on each beat of a recording, and on the beats at each place of its bars."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class BeatLevels:
    """Rows at the subdivisions of beats.

    Attributes
    ----------
    values : 0 outside the recording, ``[rows, beats, subdivisions]``
    inside : whether the recording reaches there, ``[beats, subdivisions]``
    """

    values: Array
    inside: NDArray[np.bool_]
    _means: dict[int, Array] = field(default_factory=dict, init=False)

    @classmethod
    def at(cls, rows: Array, frames: Array, subdivisions: tuple[float, ...]) -> "BeatLevels":
        """Read rows at beats.

        Parameters
        ----------
        rows : ``[rows, frames]``
        frames : of the beats, ``[beats]``
        subdivisions : shares of a beat
        """
        steps = np.diff(frames, append=2 * frames[-1] - frames[-2])
        at = np.round(frames[:, None] + steps[:, None] * np.array(subdivisions)).astype(int)
        inside = (at >= 0) & (at < rows.shape[1])
        return cls(np.where(inside, rows[:, np.clip(at, 0, rows.shape[1] - 1)], 0.0), inside)

    def means(self, period: int) -> Array:
        """Means over every `period`-th beat from each of the first, ``[rows, period, subdivisions]``."""
        if period not in self._means:
            rows, beats, subdivisions = self.values.shape
            bars = -(-beats // period)
            values = np.zeros((rows, bars * period, subdivisions))
            values[:, :beats] = self.values
            counts = np.zeros((bars * period, subdivisions))
            counts[:beats] = self.inside
            sums = values.reshape(rows, bars, period, subdivisions).sum(axis=1)
            self._means[period] = sums / np.maximum(counts.reshape(bars, period, subdivisions).sum(axis=0), 1)
        return self._means[period]

    def every_other(self, period: int) -> Array:
        """Means over every other bar of `period` beats, odd or even, whichever are more.

        A chord may last two bars.
        """
        means = self.means(2 * period)
        return np.maximum(means[:, :period], means[:, period:])

    def contrasts(self, count: int) -> tuple[Array, Array, Array]:
        """What tells on which beat bars of `count` beats begin, of the beats themselves, each ``[rows, count]``.

        Returns
        -------
        How each beat differs from the mean, how the third of bars of four does, 0 in other bars, and how every other
        such beat differs from all of them
        """
        on = self.means(count)[:, :, 0]
        difference = on - on.mean(axis=1, keepdims=True)
        third = np.roll(difference, -2, axis=1) if count == 4 else np.zeros_like(on)
        return difference, third, self.every_other(count)[:, :, 0] - on

    def deviations(self, part: slice) -> Array:
        """Differences of some rows from their means, 0 outside the recording, ``[beats, rows * subdivisions]``."""
        values = self.values[part]
        means = values.sum(axis=(1, 2), keepdims=True) / max(int(self.inside.sum()), 1)
        vectors: Array = np.where(self.inside, values - means, 0.0).swapaxes(0, 1)
        return vectors.reshape(len(vectors), -1)
