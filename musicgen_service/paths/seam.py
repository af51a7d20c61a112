"""A loop out of a longer sound, whose end flows into its start.

A loop is heard in a circle, so its file may begin in one place and the sound be joined in another. The file begins on a
downbeat, where much sets in; the join is made between beats, where it is not heard, and from there over the file's
boundary all is as it is in the music.
"""

from dataclasses import dataclass

import numpy as np

from musicgen_service.analysis import onsets

_FADES = (0.02, 0.05, 0.08)
"""Seconds in which one sound gives way to the other at the join; the first that is not heard is used."""
_NEAREST = 0.04
"""Seconds from the file's boundary to the join, at least: the boundary's own onset shows in that much."""
_STEP = 0.01
"""Seconds by which a place further from the boundary is tried."""
REACH = 0.12
"""Seconds before or after a loop's boundary that a join takes, at most."""
_EARLY = 0.005
"""Seconds before the cut asked for in which a quieter place to cut is looked for."""


@dataclass(frozen=True)
class Seam:
    """How the seam of a loop compares with its beats, all in spectral flux.

    Attributes
    ----------
    join : where one sound gives way to the other
    boundary : where the file's end meets its start
    uncut : the most that the sound has at the places it was cut, the start's and the end's
    beat : the median of the loop's other beats
    """

    join: float
    boundary: float
    uncut: float
    beat: float

    @property
    def excess(self) -> float:
        """The join's onset as a share of the median beat's."""
        return self.join / max(self.beat, 1e-9)


def close(sound: np.ndarray, rate: int, start: int, length: int, beats: int) -> tuple[np.ndarray, Seam]:
    """Cut a loop and hide its seam.

    The end gives way to the sound before the start, so that it leads into the start as that sound does.
    Where there is no sound before the start, the start begins as the sound after the end instead.

    Parameters
    ----------
    sound : float32 array [channels, samples] with a little more than `REACH` seconds before or after the part to cut
    rate : samples per second
    start, length : the part to cut, in samples
    beats : in the loop

    Returns
    -------
    The loop [channels, length], and its seam
    """
    reach = round(REACH * rate)
    before = start >= reach + round(_EARLY * rate)
    start = _quietest(sound, rate, start, length, before)
    loop = sound[:, start : start + length]
    *within, own = onsets.peaks(loop, rate, [round(length * beat / beats) for beat in range(1, beats + 1)])
    beat = float(np.median(within or own))
    best: tuple[np.ndarray, float] | None = None
    for fade in _FADES:
        for near in np.arange(_NEAREST, REACH - fade + _STEP / 2, _STEP):
            joined, middle = _joined(sound, start, length, round(near * rate), round(fade * rate), before)
            join = float(onsets.peaks(joined, rate, [middle]).max())
            if best is None or join < best[1]:
                best = joined, join
        if best is not None and best[1] <= beat:
            break
    assert best is not None
    loop, join = best
    [boundary] = onsets.peaks(np.concatenate([loop, loop], axis=1), rate, [length])
    uncut = onsets.peaks(sound, rate, [start, start + length]).max()
    return loop, Seam(join, float(boundary), float(uncut), beat)


def _quietest(sound: np.ndarray, rate: int, start: int, length: int, before: bool) -> int:
    """The start, a little before the one asked for, at which the boundary's two samples are closest to zero."""
    early = round(_EARLY * rate)
    starts = np.arange(max(0, start - early), max(start, early) + 1)
    # What meets at the boundary is what meets in the sound, at the start or (joined after it) at the end.
    cuts = starts if before else starts + length
    level = np.abs(sound).max(axis=0)
    return int(starts[np.argmin(np.maximum(level[cuts - 1], level[cuts]))])


def _joined(sound: np.ndarray, start: int, length: int, near: int, fade: int, before: bool) -> tuple[np.ndarray, int]:
    """The loop with a join `near` samples before its end, or after its start, and the middle of the join."""
    loop = sound[:, start : start + length].copy()
    ramp = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    weight = np.concatenate([ramp, np.ones(near, np.float32)])
    if before:
        part, other = loop[:, length - near - fade :], sound[:, start - near - fade : start]
    else:
        part, other = loop[:, : near + fade], sound[:, start + length : start + length + near + fade]
        weight = weight[::-1]
    part += weight * (other - part)
    return loop, length - near - fade // 2 if before else near + fade // 2
