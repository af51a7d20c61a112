"""Cutting songs into pieces of the model's window, at bars where there are any."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

MIN_SECONDS = 5.0
"""Shorter pieces teach little, and are left out."""
_NEAR_START = 0.15
"""Seconds within which a first bar begins with the song."""


@dataclass(frozen=True)
class Piece:
    """A part of a song.

    Attributes
    ----------
    start, end : seconds in the song
    bars : seconds from `start` at which bars begin; empty without a beat
    """

    start: float
    end: float
    bars: tuple[float, ...] = ()

    @property
    def seconds(self) -> float:
        """Length."""
        return self.end - self.start


def cut(seconds: float, downbeats: Sequence[float] | np.ndarray, window: float) -> tuple[list[Piece], float]:
    """Cut a song.

    Parameters
    ----------
    seconds : length of the song
    downbeats : seconds at which bars begin, ascending; empty without a beat
    window : longest piece

    Returns
    -------
    The pieces in order, at least one of a song of `MIN_SECONDS`, and how many seconds are in none of them
    """
    bars = [float(time) for time in downbeats if 0 <= time < seconds]
    # A bar is heard only from a beat on that is in the song: the first one may have begun just before it.
    if len(bars) > 1 and abs(bars[0] - (bars[1] - bars[0])) <= _NEAR_START < bars[0]:
        bars.insert(0, 0.0)
    edges = [0.0]
    # A first bar near the end is not worth what would be left out on either side of it.
    if bars and _NEAR_START < bars[0] <= seconds - MIN_SECONDS:
        count = math.ceil(bars[0] / window)
        edges += [bars[0] * number / count for number in range(1, count + 1)]
    while edges[-1] < seconds:
        edges.append(_next_edge(edges[-1], seconds, bars, window))
    pieces = [
        Piece(start, end, tuple(round(bar - start, 4) for bar in bars if start - _NEAR_START < bar < end))
        for start, end in pairwise(edges)
        if end - start >= MIN_SECONDS
    ]
    return pieces, max(0.0, seconds - sum(piece.seconds for piece in pieces))


def _next_edge(start: float, seconds: float, bars: list[float], window: float) -> float:
    """Where a piece that begins at `start` ends."""
    if start + window >= seconds:
        return seconds
    within = [bar for bar in bars if start + MIN_SECONDS <= bar <= start + window]
    return within[-1] if within else start + window
