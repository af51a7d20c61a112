"""Takes: generated sound together with the loop cut from it."""

from dataclasses import dataclass, replace

import numpy as np

from musicgen_service.analysis import kicks
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio.music import Music
from musicgen_service.audio.stretching import stretch
from musicgen_service.paths import seam
from musicgen_service.paths.grid import Cut, on_kicks
from musicgen_service.paths.seam import Seam

CONTEXT = 0.15
"""Seconds kept before and after a cut for the stretcher and the seam; more than the seam needs, because stretching may
shorten it."""


@dataclass(frozen=True)
class Take:
    """Generated sound and the loop cut from it.

    Attributes
    ----------
    sound : float32 array [channels, samples], as generated
    rate : samples per second
    bpm : the loop's tempo
    cut : position of the loop in `sound`, whose tempo may differ slightly
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
        """Cut and stretch the loop and hide its seam; `sound` continues for `CONTEXT` seconds after the cut."""
        samples = round(cut.beats * 60 / bpm * rate)
        start, length = round(cut.start * rate), round((cut.end - cut.start) * rate)
        context = round(CONTEXT * rate)
        first, last = max(0, start - context), start + length + context
        section = sound[:, first:last]
        factor = samples / length
        section = stretch(section, rate, round(section.shape[1] * factor))
        loop, loop_seam = seam.cut_loop(section, rate, round((start - first) * factor), samples, cut.beats)
        return cls(sound, rate, bpm, cut, loop, loop_seam)

    @property
    def grid(self) -> BeatGrid:
        """The beats of the loop."""
        beats = np.arange(self.cut.beats) * 60 / self.bpm
        bars = beats[:: self.cut.per_bar]
        return BeatGrid(self.bpm, beats, bars, self.cut.per_bar, 1.0, self.cut.metre, metre_confidence=1.0)

    @property
    def music(self) -> Music:
        """The tempo and the bars of the loop."""
        return Music(self.bpm, beats=self.cut.beats, beats_per_bar=self.cut.per_bar)

    def lead(self, beats: int, hop: int, max_hops: int) -> np.ndarray:
        """Return the last beats before the cut's end [channels, a multiple of `hop` samples], at most `max_hops`."""
        end = round(self.cut.start * self.rate) + round((self.cut.end - self.cut.start) * self.rate)
        needed = round(beats * (self.cut.end - self.cut.start) / self.cut.beats * self.rate / hop)
        hops = max(1, min(needed, max_hops, end // hop))
        return self.sound[:, end - hops * hop : end]

    def continued(self, sound: np.ndarray, lead: int) -> "Take":
        """Cut the loop of the same length from a continuation of this sound that begins with `lead` samples of it."""
        start = lead / self.rate
        cut = replace(self.cut, start=start, end=start + self.cut.end - self.cut.start)
        [cut] = on_kicks([cut], kicks.beginnings(sound, self.rate), sound.shape[1] / self.rate - CONTEXT) or [cut]
        return Take.of(sound, self.rate, self.bpm, cut)
