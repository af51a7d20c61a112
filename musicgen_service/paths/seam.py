"""A loop out of a longer sound, whose end flows into its start."""

from dataclasses import dataclass

import numpy as np

from musicgen_service.analysis import onsets

_FADES = (0.005, 0.03, 0.12)
"""Seconds before the seam in which the end may give way to what comes before the start; the shortest that is not heard
is used. It has given way after half of them, so that around the seam all is as it is in the music."""
_EARLY = 0.005
"""Seconds before the cut asked for in which a quieter place to cut is looked for."""


@dataclass(frozen=True)
class Seam:
    """How the seam of a loop compares with its beats.

    Attributes
    ----------
    onset : spectral flux where the end meets the start
    uncut : the most that the sound has where it was cut, at the start and at the end
    beat : the median flux of the loop's beats
    """

    onset: float
    uncut: float
    beat: float

    @property
    def excess(self) -> float:
        """The seam's onset, as a share of the larger of what the music itself has there and its median beat."""
        return self.onset / max(self.uncut, self.beat, 1e-9)


def close(sound: np.ndarray, rate: int, start: int, length: int, beats: int) -> tuple[np.ndarray, Seam]:
    """Cut a loop and hide its seam.

    The end gives way to the sound before the start, so that it leads into the start as that sound does.
    Where there is no sound before the start, the start begins as the sound after the end instead.

    Parameters
    ----------
    sound : float32 array [channels, samples]
    rate : samples per second
    start, length : the part to cut, in samples
    beats : in the loop

    Returns
    -------
    The loop [channels, length], and its seam
    """
    start = _quietest(sound, rate, start, length)
    natural = float(onsets.peaks(sound, rate, [start, start + length]).max())
    best: tuple[np.ndarray, Seam] | None = None
    for seconds in _FADES:
        fade = round(min(seconds, length / rate / beats / 4) * rate)
        if best is not None and fade > max(start, sound.shape[1] - start - length):
            break
        loop = _faded(sound, start, length, fade)
        seam = _measured(loop, rate, beats, natural)
        if best is None or seam.excess < best[1].excess:
            best = loop, seam
        if seam.excess <= 1:
            break
    assert best is not None
    return best


def _quietest(sound: np.ndarray, rate: int, start: int, length: int) -> int:
    """The start, a little before the one asked for, at which the seam's two samples are closest to zero."""
    reach, fade = round(_EARLY * rate), round(_FADES[0] * rate)
    starts = np.arange(max(0, start - reach), max(start, reach) + 1)
    # Where the seam's samples are from; see `_faded`.
    cuts = np.where(starts >= fade, starts, starts + length)
    level = np.abs(sound).max(axis=0)
    return int(starts[np.argmin(np.maximum(level[cuts - 1], level[cuts]))])


def _faded(sound: np.ndarray, start: int, length: int, fade: int) -> np.ndarray:
    end = start + length
    loop = sound[:, start:end].copy()
    if start >= fade:
        ramp = np.minimum(np.linspace(0, 2, fade, dtype=np.float32), 1)
        _give_way(loop[:, length - fade :], sound[:, start - fade : start], ramp)
    else:
        after = sound[:, end : end + fade]
        ramp = np.minimum(np.linspace(2, 0, after.shape[1], dtype=np.float32), 1)
        _give_way(loop[:, : after.shape[1]], after, ramp)
    return loop


def _give_way(part: np.ndarray, other: np.ndarray, ramp: np.ndarray) -> None:
    """Let a part become the other where the ramp is 1."""
    part += np.sin(ramp * np.float32(np.pi / 2)) ** 2 * (other - part)


def _measured(loop: np.ndarray, rate: int, beats: int, uncut: float) -> Seam:
    length = loop.shape[1]
    places = [round(length * beat / beats) for beat in range(1, beats + 1)]
    *within, onset = onsets.peaks(np.concatenate([loop, loop], axis=1), rate, places)
    return Seam(float(onset), uncut, float(np.median(within or onset)))
