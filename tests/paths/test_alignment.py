"""Downbeats are moved to the song's downbeats, and nowhere else."""

import numpy as np
import pytest

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.paths.alignment import Anchor, align, anchors, bar_lines, on_kicks
from tests.audio.test_stretching import click_near, clicks
from tests.support.sounds import RATE


@pytest.mark.parametrize(
    ("tempo", "own", "expected"),
    [
        (120, [1, 5, 9], [1, 5, 9]),
        (120, [1, 4, 7, 10], [1, 5, 9]),  # bars of three: most agree with those from the second beat
        (240, [3, 7, 11], [3, 11]),  # twice as many beats
        (60, [1, 5, 9], [1, 3, 5, 7, 9, 11]),  # half as many
        (120, [], [0, 4, 8]),
    ],
)
def test_bar_lines_are_a_songs_bars_of_another_reading(tempo: int, own: list[int], expected: list[int]) -> None:
    beats = np.arange(12) * 60 / tempo
    assert np.array_equal(bar_lines(BeatGrid(tempo, beats, beats[own]), 2.0), beats[expected])


def test_bar_lines_go_on_through_a_rest() -> None:
    beats = np.delete(np.arange(24) * 0.5, range(9, 14))
    grid = BeatGrid(120, beats, beats[[0, 4, 8]], 4, 1.0)
    assert np.array_equal(bar_lines(grid, 2.0), [0, 2, 4, 8, 10])


def test_bar_lines_move_to_the_kicks_that_are_near_all_by_as_much() -> None:
    lines = np.array([1.0, 3.0, 5.0, 7.0])
    assert on_kicks(lines, np.array([1.03, 2.0, 3.05, 5.04, 7.5])) == pytest.approx(lines + 0.04)
    assert np.array_equal(on_kicks(lines, np.array([1.1, 5.2])), lines)
    assert np.array_equal(on_kicks(lines, np.zeros(0)), lines)


def test_downbeat_moves_to_the_nearest_target() -> None:
    assert anchors(np.array([0.1, 2.2, 3.9]), np.array([0.0, 2.0, 4.0]), 0.75) == [
        Anchor(0.1, 0.0),
        Anchor(2.2, 2.0),
        Anchor(3.9, 4.0),
    ]


def test_downbeat_beyond_the_threshold_is_not_moved() -> None:
    assert anchors(np.array([0.0, 3.0]), np.array([0.1, 4.0]), 0.75) == [Anchor(0.0, 0.1), Anchor(3.0, 3.0)]
    assert anchors(np.array([0.0, 3.0]), np.array([0.1, 4.0]), 1.0) == [Anchor(0.0, 0.1), Anchor(3.0, 4.0)]


def test_closest_downbeat_gets_a_shared_target() -> None:
    assert anchors(np.array([1.7, 2.1]), np.array([0.0, 2.0, 4.0]), 0.75) == [Anchor(2.1, 2.0)]


def test_no_downbeats_give_no_anchors() -> None:
    assert anchors(np.array([]), np.array([1.0]), 0.75) == anchors(np.array([1.0]), np.array([]), 0.75) == []


@pytest.mark.parametrize("first", [0.0, 0.02, 0.3, 0.7])
@pytest.mark.parametrize("goal", [0.0, 0.02, 0.3, 0.7])
@pytest.mark.parametrize("tempo", [0.93, 1.0, 1.08])
def test_every_downbeat_reaches_its_target(first: float, goal: float, tempo: float) -> None:
    sources = [first + 2 * tempo * bar for bar in range(5)]
    targets = [goal + 2 * bar for bar in range(5)]
    moves = [Anchor(source, target) for source, target in zip(sources, targets, strict=True)]
    moved = align(clicks(11, sources), RATE, moves, 10 * RATE)
    assert moved.shape == (1, 10 * RATE)
    # A click at 0 may be trimmed together with what precedes it.
    for target in targets if goal > 0 else targets[1:]:
        assert click_near(moved, target) == pytest.approx(target, abs=0.003)


def test_anchor_that_needs_too_much_stretching_is_left_out() -> None:
    times = [1.0, 3.0, 5.0, 7.0]
    moves = [Anchor(1.0, 1.0), Anchor(3.0, 1.5), Anchor(5.0, 5.1), Anchor(7.0, 7.0)]
    moved = align(clicks(9, times), RATE, moves, 8 * RATE)
    assert click_near(moved, 3.05) == pytest.approx(3.05, abs=0.003)
    assert click_near(moved, 5.1) == pytest.approx(5.1, abs=0.003)


def test_without_anchors_the_audio_is_only_cut() -> None:
    sound = clicks(3, [1.0])
    assert np.array_equal(align(sound, RATE, [], 2 * RATE), sound[:, : 2 * RATE])


def test_result_length_does_not_depend_on_the_anchors() -> None:
    for moves in ([Anchor(1.9, 1.2)], [Anchor(1.2, 1.95)], [Anchor(0.0, 0.5)], [Anchor(0.5, 0.0), Anchor(1.99, 1.99)]):
        assert align(clicks(2, [1.0]), RATE, moves, 2 * RATE).shape == (1, 2 * RATE)
