"""Conversion of detected beats to a grid."""

import numpy as np
import pytest

from musicgen_service.analysis import detected_beats
from musicgen_service.analysis.beats import MIN_BEATS
from musicgen_service.analysis.detected_beats import DetectedBeats

BEATS = np.arange(0.5, 16.5, 0.5)


def test_missed_beats_are_filled_into_the_grid() -> None:
    grid = detected_beats.to_grid(DetectedBeats(np.delete(BEATS, [5, 13, 14]), BEATS[::4], 0.9))
    assert grid and np.allclose(grid.beats, BEATS) and np.allclose(grid.downbeats, BEATS[::4])
    assert grid.tempo == pytest.approx(120) and grid.beats_per_bar == 4


@pytest.mark.parametrize(("per_bar", "expected"), [(3, 3), (6, 3), (4, 4), (5, 5), (9, 3), (8, 4)])
def test_bars_have_two_to_seven_beats(per_bar: int, expected: int) -> None:
    grid = detected_beats.to_grid(DetectedBeats(BEATS, BEATS[1::per_bar], 0.9))
    assert grid and grid.beats_per_bar == expected


def test_uneven_beats_lower_the_confidence() -> None:
    uneven = BEATS + np.where(np.arange(len(BEATS)) % 4 == 1, 0.2, 0.0)
    even, doubtful = (detected_beats.to_grid(DetectedBeats(beats, beats[::4], 0.9)) for beats in (BEATS, uneven))
    assert even and doubtful and even.confidence == pytest.approx(0.89) and doubtful.confidence < 0.6


def test_too_few_beats_or_no_downbeats_give_no_grid() -> None:
    assert detected_beats.to_grid(DetectedBeats(BEATS[: MIN_BEATS - 1], BEATS[:1], 0.9)) is None
    assert detected_beats.to_grid(DetectedBeats(BEATS, BEATS[:0], 0.9)) is None


@pytest.mark.parametrize(
    ("tempo", "per_bar", "step", "bar", "found"),
    [
        (240, 4, 0.25, 1.0, 4),
        (240, 3, 0.25, 0.75, 3),
        (60, 4, 1.0, 2.0, 2),
        (60, 3, 1.0, 3.0, 3),
        (120, 4, 0.5, 2.0, 4),
        (80, 4, 0.5, 2.0, 4),
    ],
)
def test_a_requested_tempo_decides_the_octave(tempo: float, per_bar: int, step: float, bar: float, found: int) -> None:
    grid = detected_beats.to_grid(DetectedBeats(BEATS, BEATS[1::per_bar], 0.8), tempo)
    assert grid and grid.beats_per_bar == found
    assert np.allclose(np.diff(grid.beats), step) and np.allclose(np.diff(grid.downbeats), bar)
    assert grid.downbeats[0] == 1.0 and np.isin(grid.downbeats, grid.beats).all()


def test_nothing_is_heard_with_certainty() -> None:
    grid = detected_beats.to_grid(DetectedBeats(BEATS, BEATS[::4], 1.0))
    assert grid and grid.confidence < 0.9
