"""Notes that may have been played, from the frame-wise output of a network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_ONSET = 0.3  # activation from which a peak may be the onset of a note
_SOUNDING = 0.3  # activation from which a note sounds
_NEAR = 3  # frames on either side of an onset without another one of the same pitch
_GAP = 11  # frames (0.13 s) for which a note may fade away before it is over
_SHORTEST = 5  # frames (58 ms)
_LATENCY = 0.008  # seconds by which the network's onsets are late
_QUIET = -60.0  # dB below the loudest frame: what is heard there is noise
_BODY = 12  # frames (0.14 s) after its onset by which a note is judged
_BEFORE = 5  # frames before its onset with which they are compared, the last excepted
HARMONICS = (12, 19, 24, 28, 31)
"""Semitones of the second to the sixth harmonic above the first."""


@dataclass(frozen=True)
class NoteActivity:
    """Output of a network that hears notes.

    Attributes
    ----------
    onsets, sounding : activation (0 to 1) of the onset and of the sound of each pitch, float32 ``[frames, pitches]``
    levels : level of each frame in dB, relative to the loudest, ``[frames]``
    frame_rate : frames a second; frame i is centred at i / frame_rate
    lowest : MIDI number of the first pitch
    """

    onsets: NDArray[np.float32]
    sounding: NDArray[np.float32]
    levels: NDArray[np.float32]
    frame_rate: float
    lowest: int


@dataclass(frozen=True)
class Candidates:
    """Notes that may have been played, by their start; arrays ``[candidates]``.

    Attributes
    ----------
    starts, ends : seconds
    pitches : MIDI numbers
    velocities : 1 to 127
    onset : activation of the onset
    body : mean activation in the first 0.14 s
    rise : how much `body` is above the activation before the onset: a note that goes on while another begins has none
    harmonic : how much `body` is above that of the strongest pitch of which this one would be a harmonic
    """

    starts: Array
    ends: Array
    pitches: NDArray[np.int64]
    velocities: NDArray[np.int64]
    onset: Array
    body: Array
    rise: Array
    harmonic: Array


def candidates(activity: NoteActivity) -> Candidates:
    """Find all notes that may have been played, harmonics and other spurious ones among them."""
    onsets = np.where(activity.levels[:, None] > _QUIET, activity.onsets, 0)
    firsts, pitches = np.nonzero(_peaks(onsets))
    lasts = _ends(activity.sounding, firsts, pitches)
    long = lasts - firsts >= _SHORTEST
    firsts, lasts, pitches = firsts[long], lasts[long], pitches[long]
    # Padded by the reach of harmonics, and of what is looked at before and after an onset.
    reach = max(HARMONICS)
    around = np.pad(activity.sounding, ((_BEFORE, _BODY), (reach, 0)))
    at, rows = firsts[:, None] + _BEFORE, pitches[:, None] + reach
    frames = np.arange(1, _BODY + 1)
    inside = frames <= (lasts - firsts)[:, None]

    def body_of(rows: NDArray[np.int64]) -> Array:
        means: Array = np.mean(around[at + frames, rows], axis=1, where=inside, dtype=np.float64)
        return means

    body = body_of(rows)
    before = around[at - np.arange(2, _BEFORE + 1), rows].mean(axis=1, dtype=np.float64)
    return Candidates(
        starts=np.maximum(firsts / activity.frame_rate - _LATENCY, 0.0),
        ends=lasts / activity.frame_rate,
        pitches=pitches + activity.lowest,
        velocities=_velocities(activity.levels, firsts),
        onset=onsets[firsts, pitches].astype(np.float64),
        body=body,
        rise=body - before,
        harmonic=body - np.max([body_of(rows - step) for step in HARMONICS], axis=0),
    )


def _peaks(onsets: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where an onset's activation is the highest around, ``[frames, pitches]``."""
    import scipy

    highest = scipy.ndimage.maximum_filter1d(onsets, 2 * _NEAR + 1, axis=0, mode="constant")
    peaks = (onsets == highest) & (onsets >= _ONSET)
    peaks[1:] &= ~peaks[:-1]  # of equal neighbours the first
    return peaks


def _ends(sounding: NDArray[np.float32], firsts: NDArray[np.int64], pitches: NDArray[np.int64]) -> NDArray[np.int64]:
    """The frame after the last in which a note sounds, given its onset: where it fades away, or begins again."""
    frames = len(sounding)
    lasts = np.empty_like(firsts)
    for pitch in np.unique(pitches):
        own = np.flatnonzero(pitches == pitch)
        begun = firsts[own]
        heard = np.append(np.flatnonzero(sounding[:, pitch] >= _SOUNDING), frames + _GAP)
        fading = heard[np.diff(heard, append=heard[-1] + _GAP + 1) > _GAP] + 1
        faded = fading[np.searchsorted(fading, begun, side="right")]
        is_heard = heard[np.searchsorted(heard, begun)] - begun <= _GAP
        lasts[own] = np.where(is_heard, np.minimum(faded, np.append(begun[1:], frames)), begun)
    return lasts


def _velocities(levels: NDArray[np.float32], firsts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Velocities from the level after each onset: half the velocity is a quarter of the amplitude."""
    after = np.minimum(firsts[:, None] + np.arange(_BODY), len(levels) - 1)
    loudest = levels[after].max(axis=1)
    return np.clip(np.round(127 * 10 ** (loudest / 40)), 1, 127).astype(np.int64)
