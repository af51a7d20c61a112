"""Cutting a seamless loop out of a longer sound.

A loop is played repeatedly, so the join need not be at the boundary of the file. The file begins on a downbeat, at a
strong onset; the join is a crossfade between beats, where it is inaudible, and from there across the file's boundary
the sound is continuous as in the music.
"""

from dataclasses import dataclass

import numpy as np

from musicgen_service.analysis import onsets

_FADES = (0.02, 0.05, 0.08)
"""Lengths of the join's crossfade in seconds; the first one that is inaudible is used."""
_MIN_DISTANCE = 0.04
"""Minimum seconds between the file's boundary and the join: the range in which the boundary's own onset shows."""
_STEP = 0.01
"""Seconds between the candidate positions of the join."""
REACH = 0.12
"""Maximum seconds before or after a loop's boundary that the join affects."""
_EARLY = 0.005
"""Seconds before the requested cut that are searched for a quieter position."""
LEAD = REACH + _EARLY
"""Seconds of sound before a loop that its end is crossfaded to; with less, its beginning is what follows its end."""


@dataclass(frozen=True)
class Seam:
    """Onset strengths (spectral flux) at the seam of a loop, compared with its beats.

    Attributes
    ----------
    join : at the crossfade
    boundary : where the file's end meets its start
    uncut : the maximum in the original sound at the two positions where it was cut
    beat : the median of the loop's other beats
    """

    join: float
    boundary: float
    uncut: float
    beat: float

    @property
    def excess(self) -> float:
        """The join's onset relative to the median beat's."""
        return self.join / max(self.beat, 1e-9)


def cut_loop(sound: np.ndarray, rate: int, start: int, length: int, beats: int) -> tuple[np.ndarray, Seam]:
    """Cut a loop and hide its seam.

    The end is crossfaded to the sound before the start, so that it leads into the start as that sound does.
    Where there is no sound before the start, the start is crossfaded from the sound after the end instead.

    Parameters
    ----------
    sound : float32 array [channels, samples] with slightly more than `REACH` seconds before or after the part to cut
    rate : samples per second
    start, length : the part to cut, in samples
    beats : in the loop

    Returns
    -------
    The loop [channels, length], and its seam
    """
    before = start >= round(LEAD * rate)
    start = _quietest(sound, rate, start, length, before)
    loop = sound[:, start : start + length]
    *within, own = onsets.peaks(loop, rate, [round(length * beat / beats) for beat in range(1, beats + 1)])
    beat = float(np.median(within or own))
    best: tuple[np.ndarray, float] | None = None
    for fade in _FADES:
        for near in np.arange(_MIN_DISTANCE, REACH - fade + _STEP / 2, _STEP):
            joined, middle = _crossfaded(sound, start, length, round(near * rate), round(fade * rate), before)
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
    """Return the start, at most slightly before the requested one, with the boundary's two samples closest to zero."""
    early = round(_EARLY * rate)
    starts = np.arange(max(0, start - early), max(start, early) + 1)
    # The samples that meet at the boundary are adjacent in the sound, at the start or (if joined after it) at the end.
    cuts = starts if before else starts + length
    level = np.abs(sound).max(axis=0)
    return int(starts[np.argmin(np.maximum(level[cuts - 1], level[cuts]))])


def _crossfaded(
    sound: np.ndarray, start: int, length: int, near: int, fade: int, before: bool
) -> tuple[np.ndarray, int]:
    """Return the loop with a join `near` samples before its end or after its start, and the middle of the join."""
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
