"""Moving the downbeats of one recording to those of another."""

from typing import NamedTuple

import numpy as np

from musicgen_service.audio.stretching import warp

_MOST = 2.0
"""Times by which a part may be stretched or squeezed: a pair that needs more is left out."""


class Anchor(NamedTuple):
    """A point of a recording and where it goes, in seconds."""

    source: float
    target: float


def anchors(downbeats: np.ndarray, wanted: np.ndarray, threshold: float) -> list[Anchor]:
    """What happens to each downbeat of a recording.

    Parameters
    ----------
    downbeats : of the recording, seconds, ascending
    wanted : where downbeats should be, seconds, ascending
    threshold : seconds; a downbeat whose nearest wanted one is further away stays where it is

    Returns
    -------
    Anchors, ascending in source and target; a wanted downbeat is given to the nearest of those that claim it
    """
    if not len(downbeats) or not len(wanted):
        return []
    nearest = np.abs(downbeats[:, None] - wanted).argmin(axis=1)
    distance = np.abs(downbeats - wanted[nearest])
    found = []
    for index, (source, goal) in enumerate(zip(downbeats, nearest, strict=True)):
        rivals = np.flatnonzero(nearest == goal)
        if distance[index] > threshold:
            found.append(Anchor(float(source), float(source)))
        elif index == rivals[np.argmin(distance[rivals])]:
            found.append(Anchor(float(source), float(wanted[goal])))
    return found


def align(samples: np.ndarray, rate: int, moves: list[Anchor], length: int) -> np.ndarray:
    """A recording with its anchors moved, stretched evenly between them.

    An anchor is left out where it would stretch or squeeze a part by more than a factor of two. What comes before
    the first and after the last one moves along.

    Parameters
    ----------
    samples : float32 array [channels, at least `length` samples]; the more, the further the end may come forward
    length : of the result in samples
    """
    points: list[tuple[int, int]] = []
    for move in moves:
        point = round(move.source * rate), round(move.target * rate)
        if point[1] < length and (not points or _bearable(points[-1], point)):
            points.append(point)
    while points and not _bearable(points[-1], _end(points[-1], samples.shape[1], length)):
        points.pop()
    if not points:
        return samples[:, :length]
    first, begin = points[0]
    head = (0, 0) if _bearable((0, 0), points[0]) else (max(0, first - begin), max(0, begin - first))
    # Where the first anchor is the beginning itself, it is not repeated.
    path = dict.fromkeys([head, *points, _end(points[-1], samples.shape[1], length)])
    sources, targets = zip(*path, strict=True)
    return warp(samples, rate, sources, targets)


def _end(last: tuple[int, int], available: int, length: int) -> tuple[int, int]:
    """What becomes the end of the result: as far behind the last anchor as there, if there is so much."""
    return min(available, last[0] + length - last[1]), length


def _bearable(before: tuple[int, int], after: tuple[int, int]) -> bool:
    source, target = (end - start for start, end in zip(before, after, strict=True))
    return source > 0 and target > 0 and 1 / _MOST <= target / source <= _MOST
