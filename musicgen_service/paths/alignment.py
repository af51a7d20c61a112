"""Alignment of the downbeats of one recording with those of another."""

from typing import NamedTuple

import numpy as np

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio.stretching import warp

_REACH = 0.07
"""Seconds from a beat to the kick that is played on it: the usual tolerance of beat tracking."""
_MAX_FACTOR = 2.0
"""Maximum factor by which a part may be stretched or compressed; anchors that need more are left out."""


class Anchor(NamedTuple):
    """A point of a recording and its new position, in seconds."""

    source: float
    target: float


def bar_lines(grid: BeatGrid, bar: float) -> np.ndarray:
    """The beats of a recording that begin bars of about so many seconds, where most of its own bars begin.

    Two readings of the same music may count other beats, or other bars of them: those of one are wanted of the other.

    Parameters
    ----------
    grid : of the recording, with at least one beat
    bar : seconds
    """
    count = max(1, round(bar * grid.tempo / 60))
    own = np.isin(grid.beats, grid.downbeats)
    # Beats go on where none is heard.
    numbers = np.append(0, np.cumsum(np.maximum(np.round(np.diff(grid.beats) * grid.tempo / 60), 1).astype(int)))
    # Of several that have equally many, the first of its own.
    first = max(
        (np.arange(count) + numbers[own.argmax()]) % count, key=lambda first: own[numbers % count == first].sum()
    )
    result: np.ndarray = grid.beats[numbers % count == first]
    return result


def on_kicks(times: np.ndarray, kicks: np.ndarray) -> np.ndarray:
    """Move times, all by as much, to the kicks that are near them: what is played may be later than what is counted.

    Parameters
    ----------
    times, kicks : seconds, ascending
    """
    if not len(kicks):
        return times
    late = kicks[np.abs(times[:, None] - kicks).argmin(axis=1)] - times
    near = late[np.abs(late) <= _REACH]
    return times + np.median(near) if len(near) else times


def anchors(downbeats: np.ndarray, targets: np.ndarray, threshold: float) -> list[Anchor]:
    """Match the downbeats of a recording with target positions.

    Parameters
    ----------
    downbeats : of the recording, seconds, ascending
    targets : where downbeats should be, seconds, ascending
    threshold : seconds; a downbeat further away from its nearest target is not moved

    Returns
    -------
    Anchors, ascending in source and target; of several downbeats with the same nearest target, the closest gets it
    """
    if not len(downbeats) or not len(targets):
        return []
    nearest = np.abs(downbeats[:, None] - targets).argmin(axis=1)
    distance = np.abs(downbeats - targets[nearest])
    result = []
    for index, (source, goal) in enumerate(zip(downbeats, nearest, strict=True)):
        rivals = np.flatnonzero(nearest == goal)
        if distance[index] > threshold:
            result.append(Anchor(float(source), float(source)))
        elif index == rivals[np.argmin(distance[rivals])]:
            result.append(Anchor(float(source), float(targets[goal])))
    return result


def align(samples: np.ndarray, rate: int, moves: list[Anchor], length: int) -> np.ndarray:
    """Move the anchors of a recording, stretching evenly between them.

    An anchor is left out where it would stretch or compress a part by more than a factor of two. The parts before
    the first and after the last anchor are shifted.

    Parameters
    ----------
    samples : float32 array [channels, at least `length` samples]; extra samples fill the end when it moves forward
    length : of the result in samples
    """
    points: list[tuple[int, int]] = []
    for move in moves:
        point = round(move.source * rate), round(move.target * rate)
        if point[1] < length and (not points or _is_within_limit(points[-1], point)):
            points.append(point)
    while points and not _is_within_limit(points[-1], _end(points[-1], samples.shape[1], length)):
        points.pop()
    if not points:
        return samples[:, :length]
    first, begin = points[0]
    head = (0, 0) if _is_within_limit((0, 0), points[0]) else (max(0, first - begin), max(0, begin - first))
    # `fromkeys` drops the first anchor where it equals the beginning.
    path = dict.fromkeys([head, *points, _end(points[-1], samples.shape[1], length)])
    sources, targets = zip(*path, strict=True)
    return warp(samples, rate, sources, targets)


def _end(last: tuple[int, int], available: int, length: int) -> tuple[int, int]:
    """Return the source of the result's end: as far after the last anchor as in the result, if available."""
    return min(available, last[0] + length - last[1]), length


def _is_within_limit(before: tuple[int, int], after: tuple[int, int]) -> bool:
    source, target = (end - start for start, end in zip(before, after, strict=True))
    return source > 0 and target > 0 and 1 / _MAX_FACTOR <= target / source <= _MAX_FACTOR
