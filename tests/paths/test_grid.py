"""Choice of the bars of a recording that can be a loop."""

from dataclasses import replace

import numpy as np
import pytest

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.paths import grid
from musicgen_service.paths.grid import Cut


def bars(tempo: float, seconds: float, start: float = 0.0, per_bar: int = 4, confidence: float = 1.0) -> BeatGrid:
    beats = np.arange(start, seconds, 60 / tempo)
    return BeatGrid(tempo, beats, beats[::per_bar], per_bar, confidence, f"{per_bar}/4")


@pytest.mark.parametrize(
    ("bpm", "seconds", "per_bar", "beats"),
    [
        (120, 8, 4, 16),
        (140, 8, 4, 16),
        (119, 8, 4, 8),
        (300, 20, 4, 64),
        (40, 20, 4, 8),
        (120, 8, 3, 12),
        (40, 4, 4, 2),  # less than a bar: beats, in powers of two
        (60, 3.9, 4, 2),
        (40, 2, 4, 1),
        (90, 2, 3, 3),
    ],
)
def test_longest_loop_has_a_power_of_two_of_bars(bpm: float, seconds: float, per_bar: int, beats: int) -> None:
    assert grid.lengths(bpm, seconds, per_bar)[0] == beats
    assert beats * 60 / bpm <= seconds + 1e-6


def test_every_downbeat_with_enough_audio_is_a_start() -> None:
    found = grid.cuts(bars(120, 13, start=0.5), 120, 8, 12.9)
    assert found == [Cut(0.5, 8.5, 16), Cut(2.5, 10.5, 16), Cut(4.5, 12.5, 16)]


def test_a_downbeat_at_zero_is_a_start() -> None:
    assert grid.cuts(bars(120, 9), 120, 8, 9)[0] == Cut(0, 8, 16)


def test_short_recording_gives_fewer_bars() -> None:
    assert grid.cuts(bars(120, 7.9), 120, 8, 7.9)[0] == Cut(0, 4, 8)


@pytest.mark.parametrize("octave", [0.5, 1, 2])
def test_half_and_double_tempo_are_accepted(octave: float) -> None:
    [cut, *_] = grid.cuts(bars(100 * octave, 15), 100, 8, 15)
    assert cut.beats == 8 and cut.end - cut.start == pytest.approx(4.8)


@pytest.mark.parametrize(("tempo", "is_close"), [(110, True), (90, True), (125, False), (75, False), (160, False)])
def test_tempo_within_tolerance_is_accepted(tempo: float, is_close: bool) -> None:
    assert bool(grid.cuts(bars(tempo, 15), 100, 8, 15)) == is_close


def test_bars_of_three_beats() -> None:
    assert grid.cuts(bars(120, 9, per_bar=3), 120, 8, 9)[0] == Cut(0, 6, 12, 3, "3/4")


def test_bars_of_six_eighths_are_those_of_a_loop_at_the_tempo_that_is_heard() -> None:
    heard = replace(bars(120, 9, per_bar=2), metre="6/8")
    assert {cut.metre for cut in grid.cuts(heard, 120, 8, 9)} == {"6/8"}
    assert {cut.metre for cut in grid.cuts(heard, 60, 8, 9)} == {"2/4"}


def test_low_confidence_grid_gives_no_cuts() -> None:
    assert grid.cuts(bars(120, 13, confidence=0.01), 120, 8, 13) == []
    assert grid.cuts(BeatGrid(), 120, 8, 13) == []


def test_part_that_deviates_from_the_tempo_is_not_a_cut() -> None:
    even = bars(120, 13)
    beats = np.delete(even.beats, [9, 10])
    downbeats = np.intersect1d(beats, even.downbeats)
    starts = [cut.start for cut in grid.cuts(BeatGrid(120, beats, downbeats, 4, 1.0), 120, 4, 13)]
    assert starts == [0, 6, 8]


def test_fixed_grid_is_aligned_with_onsets() -> None:
    envelope = np.zeros(1300)
    envelope[30::50] = 1.0
    found = grid.cuts_on_fixed_grid(envelope, 0.01, 120, 8, 12.9)
    assert [cut.start for cut in found] == pytest.approx([0.3, 0.8, 1.3, 1.8], abs=0.011)
    assert all(cut.beats == 16 and cut.end - cut.start == pytest.approx(8) for cut in found)


def test_cuts_move_to_the_kicks_that_they_nearly_begin_on() -> None:
    cuts = [Cut(0.5, 8.5, 16), Cut(2.5, 10.5, 16), Cut(4.5, 12.5, 16)]
    kicks = np.array([0.52, 2.3, 4.47, 4.54])
    moved = grid.on_kicks(cuts, kicks, 13)
    assert [(cut.start, cut.end) for cut in moved] == [pytest.approx((0.52, 8.52)), pytest.approx((4.47, 12.47))]
    assert not grid.on_kicks(cuts, np.array([2.3]), 13)
    assert not grid.on_kicks(cuts, np.zeros(0), 13)
    assert not grid.on_kicks(cuts[2:], np.array([4.54]), 12.51), "there is no more sound"


def test_a_cut_without_sound_before_it_is_moved_by_the_kick_at_its_end() -> None:
    """Its loop begins with what follows the end."""
    cuts, kicks = [Cut(0.02, 7.98, 16)], np.array([0.0, 8.0])
    [moved] = grid.on_kicks(cuts, kicks, 13)
    assert (moved.start, moved.end) == pytest.approx((0.04, 8.0))
    assert not grid.on_kicks(cuts, kicks[:1], 13)
    assert not grid.on_kicks(cuts, np.array([7.95]), 13), "it cannot begin before the sound"


@pytest.mark.parametrize(("tempo", "same"), [(100, True), (49, True), (210, True), (130, False), (75, False)])
def test_half_and_double_are_the_same_tempo(tempo: float, same: bool) -> None:
    assert grid.same_tempo(bars(tempo, 15), 100) == same
