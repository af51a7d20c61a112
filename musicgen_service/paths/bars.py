"""Bars of clips: where whole ones are, and what is heard in a part or in a repetition of a clip."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.analysis.midi import Marker
from musicgen_service.analysis.transcription import Note, Transcription
from musicgen_service.paths.grid import MIN_CONFIDENCE

_LATE = 0.02
"""Seconds by which a clip may end before its last bar line."""
_Event = TypeVar("_Event", Note, ChordSegment)


def whole_bars(grid: BeatGrid, seconds: float) -> tuple[float, float] | None:
    """From the first downbeat to the last bar line of a clip of so many seconds; None where there is no whole bar."""
    if not len(grid.downbeats) or grid.confidence < MIN_CONFIDENCE:
        return None
    start, end = float(grid.downbeats[0]), float(grid.downbeats[-1])
    after = end + grid.beats_per_bar * 60 / grid.tempo
    if after <= seconds + _LATE:
        end = min(after, seconds)
    return (max(0.0, start), end) if end > start else None


def within(grid: BeatGrid, start: float, end: float) -> BeatGrid:
    """The beats of a part of a clip."""
    beats, downbeats = (times[(times >= start) & (times < end)] - start for times in (grid.beats, grid.downbeats))
    return replace(grid, beats=beats, downbeats=downbeats)


def sections_within(sections: Sequence[Marker], start: float, end: float) -> list[Marker]:
    """The sections of a part of a clip; one that has begun before begins with it."""
    ends = [*(following.start for following in sections[1:]), end][: len(sections)]
    return [
        Marker(max(0.0, section.start - start), section.text)
        for section, stop in zip(sections, ends, strict=True)
        if section.start < end and stop > start
    ]


def repeated(
    grid: BeatGrid, harmony: Harmony, voices: Transcription, count: int, seconds: float
) -> tuple[BeatGrid, Harmony, Transcription]:
    """What is heard in a clip of so many seconds, in `count` repetitions of it."""
    shifts = np.arange(count) * seconds
    beats, downbeats = ((shifts[:, None] + times).ravel() for times in (grid.beats, grid.downbeats))
    chords = _again(harmony.chords, shifts)
    return (
        replace(grid, beats=beats, downbeats=downbeats),
        replace(harmony, chords=chords, candidates=[*harmony.candidates] * count),
        Transcription(_again(voices.melody, shifts), _again(voices.bass, shifts)),
    )


def _again(events: Sequence[_Event], shifts: np.ndarray) -> list[_Event]:
    return [
        event._replace(start=event.start + float(shift), end=event.end + float(shift))
        for shift in shifts
        for event in events
    ]
