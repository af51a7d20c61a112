"""Cutting songs into pieces."""

from itertools import pairwise

import numpy as np
import pytest

from musicgen_service.training.pieces import MIN_SECONDS, Piece, cut


def test_a_song_within_the_window_is_one_piece() -> None:
    assert cut(20.0, [0.0, 2.0, 4.0], 20.0) == ([Piece(0.0, 20.0, (0.0, 2.0, 4.0))], 0.0)


def test_pieces_begin_on_bars() -> None:
    pieces, rest = cut(70.0, np.arange(0, 70, 1.9), 30.0)
    assert [piece.start for piece in pieces] == pytest.approx([0.0, 28.5, 57.0])
    assert all(piece.bars[0] == pytest.approx(0.0) and piece.seconds <= 30 for piece in pieces)
    assert rest == pytest.approx(0.0)


def test_without_a_beat_pieces_are_windows() -> None:
    pieces, rest = cut(64.0, [], 30.0)
    assert [(piece.start, piece.end, piece.bars) for piece in pieces] == [(0, 30, ()), (30, 60, ())]
    assert rest == pytest.approx(4.0)


@pytest.mark.parametrize("intro", [1.0, 4.9, 5.0, 12.0])
def test_what_precedes_the_first_bar_is_a_piece_if_it_is_long_enough(intro: float) -> None:
    pieces, rest = cut(40.0, np.arange(intro, 40, 2), 30.0)
    starts = [piece.start for piece in pieces]
    assert intro in starts
    assert (0.0 in starts) == (intro >= MIN_SECONDS)
    assert rest == pytest.approx(40.0 - sum(piece.seconds for piece in pieces))


def test_a_song_that_begins_where_a_bar_would_have_loses_nothing() -> None:
    pieces, rest = cut(20.0, np.arange(1.9, 20, 2.0), 20.0)
    assert [(piece.start, piece.end) for piece in pieces] == [(0.0, 20.0)]
    assert pieces[0].bars[:2] == (0.0, 1.9)
    assert rest == 0.0


@pytest.mark.parametrize("seconds", [5.0, 31.7, 300.0])
@pytest.mark.parametrize("bar", [0.0, 1.3, 29.0, 31.0])
@pytest.mark.parametrize("first", [0.4, 4.0, 26.8, 62.0])
def test_pieces_are_in_order_and_no_longer_than_the_window(seconds: float, bar: float, first: float) -> None:
    downbeats = np.arange(first, seconds, bar) if bar else np.zeros(0)
    pieces, _ = cut(seconds, downbeats, 30.0)
    assert all(MIN_SECONDS <= piece.seconds <= 30.0 + 1e-9 for piece in pieces)
    assert all(first.end <= second.start for first, second in pairwise(pieces))


@pytest.mark.parametrize(("seconds", "downbeats"), [(5.1, [0.2, 2.2, 4.2]), (9.6, [4.9, 6.9, 8.9]), (5.0, [0.3])])
def test_a_short_song_is_a_piece_wherever_its_first_bar_is(seconds: float, downbeats: list[float]) -> None:
    pieces, rest = cut(seconds, downbeats, 30.0)
    assert [(piece.start, piece.end) for piece in pieces] == [(0.0, seconds)] and rest == 0.0


def test_what_precedes_a_late_first_bar_is_cut_to_the_window() -> None:
    pieces, rest = cut(120.0, np.arange(45.0, 120.0, 2.0), 30.0)
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 22.5), (22.5, 45), (45, 75), (75, 105), (105, 120)]
    assert rest == 0.0
