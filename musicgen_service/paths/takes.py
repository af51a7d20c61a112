"""A take: generated sound, and the loop in it."""

from dataclasses import dataclass, replace

import numpy as np

from musicgen_service.audio.stretching import stretch
from musicgen_service.paths import seam
from musicgen_service.paths.grid import Cut
from musicgen_service.paths.seam import Seam

CONTEXT = 0.15
"""Seconds kept before and after a cut, for the stretcher and for the seam: what it needs, and more by what stretching
takes away."""


@dataclass(frozen=True)
class Take:
    """Generated sound and the loop in it.

    Attributes
    ----------
    sound : float32 array [channels, samples], as generated
    rate : samples per second
    bpm : the loop's tempo
    cut : where the loop is in `sound`, whose tempo may be a little different
    loop : float32 array [channels, round(cut.beats * 60 / bpm * rate)]
    seam : of the loop
    """

    sound: np.ndarray
    rate: int
    bpm: float
    cut: Cut
    loop: np.ndarray
    seam: Seam

    @classmethod
    def of(cls, sound: np.ndarray, rate: int, bpm: float, cut: Cut) -> "Take":
        """Cut, stretch and close the loop; `sound` goes on for `CONTEXT` seconds after the cut."""
        samples = round(cut.beats * 60 / bpm * rate)
        start, length = round(cut.start * rate), round((cut.end - cut.start) * rate)
        context = round(CONTEXT * rate)
        first, last = max(0, start - context), start + length + context
        piece = sound[:, first:last]
        factor = samples / length
        piece = stretch(piece, rate, round(piece.shape[1] * factor))
        loop, closed = seam.close(piece, rate, round((start - first) * factor), samples, cut.beats)
        return cls(sound, rate, bpm, cut, loop, closed)

    def lead(self, beats: int, hop: int, most: int) -> np.ndarray:
        """The last beats before the cut's end [channels, a multiple of `hop` samples], at most `most` hops."""
        end = round(self.cut.start * self.rate) + round((self.cut.end - self.cut.start) * self.rate)
        wanted = round(beats * (self.cut.end - self.cut.start) / self.cut.beats * self.rate / hop)
        hops = max(1, min(wanted, most, end // hop))
        return self.sound[:, end - hops * hop : end]

    def continued(self, sound: np.ndarray, lead: int) -> "Take":
        """The loop of the same length in a sound that goes on from this one and begins with `lead` samples of it."""
        start = lead / self.rate
        cut = replace(self.cut, start=start, end=start + self.cut.end - self.cut.start)
        return Take.of(sound, self.rate, self.bpm, cut)
