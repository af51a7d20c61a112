"""Downbeats go to the song's downbeats, and only there."""

import numpy as np
import pytest

from musicgen_service.paths.alignment import Anchor, align, anchors
from tests.audio.test_stretching import clicks, heard_at
from tests.support.sounds import RATE


def test_a_downbeat_goes_to_the_nearest_one() -> None:
    assert anchors(np.array([0.1, 2.2, 3.9]), np.array([0.0, 2.0, 4.0]), 0.75) == [
        Anchor(0.1, 0.0),
        Anchor(2.2, 2.0),
        Anchor(3.9, 4.0),
    ]


def test_a_downbeat_too_far_from_any_stays() -> None:
    assert anchors(np.array([0.0, 3.0]), np.array([0.1, 4.0]), 0.75) == [Anchor(0.0, 0.1), Anchor(3.0, 3.0)]
    assert anchors(np.array([0.0, 3.0]), np.array([0.1, 4.0]), 1.0) == [Anchor(0.0, 0.1), Anchor(3.0, 4.0)]


def test_two_that_claim_one_give_it_to_the_nearer() -> None:
    assert anchors(np.array([1.7, 2.1]), np.array([0.0, 2.0, 4.0]), 0.75) == [Anchor(2.1, 2.0)]


def test_without_downbeats_there_is_nothing_to_move() -> None:
    assert anchors(np.array([]), np.array([1.0]), 0.75) == anchors(np.array([1.0]), np.array([]), 0.75) == []


@pytest.mark.parametrize("first", [0.0, 0.02, 0.3, 0.7])
@pytest.mark.parametrize("goal", [0.0, 0.02, 0.3, 0.7])
@pytest.mark.parametrize("tempo", [0.93, 1.0, 1.08])
def test_every_downbeat_arrives(first: float, goal: float, tempo: float) -> None:
    made = [first + 2 * tempo * bar for bar in range(5)]
    wanted = [goal + 2 * bar for bar in range(5)]
    moves = [Anchor(m, w) for m, w in zip(made, wanted, strict=True)]
    moved = align(clicks(11, made), RATE, moves, 10 * RATE)
    assert moved.shape == (1, 10 * RATE)
    # One that is trimmed from the beginning together with what comes before it is not heard.
    for target in wanted if goal > 0 else wanted[1:]:
        assert heard_at(moved, target) == pytest.approx(target, abs=0.003)


def test_a_pair_that_would_tear_the_music_is_left_out() -> None:
    made = [1.0, 3.0, 5.0, 7.0]
    moves = [Anchor(1.0, 1.0), Anchor(3.0, 1.5), Anchor(5.0, 5.1), Anchor(7.0, 7.0)]
    moved = align(clicks(9, made), RATE, moves, 8 * RATE)
    assert heard_at(moved, 3.05) == pytest.approx(3.05, abs=0.003)
    assert heard_at(moved, 5.1) == pytest.approx(5.1, abs=0.003)


def test_nothing_to_move_only_cuts_to_length() -> None:
    sound = clicks(3, [1.0])
    assert np.array_equal(align(sound, RATE, [], 2 * RATE), sound[:, : 2 * RATE])


def test_the_result_is_as_long_as_the_song_whatever_the_anchors() -> None:
    for moves in ([Anchor(1.9, 1.2)], [Anchor(1.2, 1.95)], [Anchor(0.0, 0.5)], [Anchor(0.5, 0.0), Anchor(1.99, 1.99)]):
        assert align(clicks(2, [1.0]), RATE, moves, 2 * RATE).shape == (1, 2 * RATE)
