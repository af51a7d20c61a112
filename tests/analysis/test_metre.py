"""Possible beats and bars."""

import numpy as np
import pytest

from musicgen_service.analysis import metre, pulse
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE

FRAMES = round(20 * FRAME_RATE)


def rows(times: np.ndarray, row: int = 0) -> np.ndarray:
    """Envelopes with onsets at times (frames) in one band."""
    result = np.zeros((len(BANDS), FRAMES))
    result[row, np.round(times).astype(int)] = 10.0
    return result


def test_beats_may_be_on_any_third_tick() -> None:
    ticks = np.arange(5.0, FRAMES, 25.0)
    onsets = rows(ticks)
    found = metre.possible_beats([ticks], pulse.regularity(onsets[0]))
    thirds = sorted(round(beats.frames[1] % 75) for beats in found if beats.tempo == pytest.approx(69, rel=0.01))
    assert thirds == [5, 30, 55]


def test_the_same_beats_are_listed_once() -> None:
    ticks = np.arange(5.0, FRAMES, 40.0)
    onsets = rows(ticks)
    regularity = pulse.regularity(onsets[0])
    once = metre.possible_beats([ticks], regularity)
    assert len(metre.possible_beats([ticks, ticks + 1], regularity)) == len(once)


def test_a_loop_has_a_whole_number_of_beats_in_whole_bars() -> None:
    loop = 180.5  # frames
    onsets = rows(np.arange(0, FRAMES - 1, loop / 4))[0]
    found = metre.beats_of_loop(onsets, loop, pulse.regularity(onsets))
    assert {beats.per_loop for beats in found} == {2, 3, 4, 5, 6, 7, 8, 10}
    assert all(beats.tempo == pytest.approx(60 * FRAME_RATE * beats.per_loop / loop) for beats in found)
    [first] = [beats.frames[1] for beats in found if beats.per_loop == 4]
    assert first == pytest.approx(0.0, abs=1)


def test_beats_of_a_loop_and_of_the_recording_are_the_same_within_it() -> None:
    length = 200.0  # frames
    once, repeated = (metre.Beats(np.arange(-40, end, 40.0), 1.0) for end in (length + 41, 1000))
    assert not once.agree(repeated, 0.07)
    assert once.until(length).agree(repeated.until(length), 0.07)
    assert np.array_equal(repeated.until(length).frames, [-40, 0, 40, 80, 120, 160, 200])
    assert len(repeated.until(0.0).frames) == 2


def test_drifting_ticks_follow_a_pulse_that_slows_down() -> None:
    times = np.cumsum(np.linspace(30, 50, 40))
    onsets = rows(times[times < FRAMES - 1])[0]
    periods = np.interp(np.arange(FRAMES), times, np.linspace(30, 50, 40))[None]
    [ticks] = pulse.drifting(onsets, periods)
    known = ticks[(ticks >= times[0]) & (ticks <= times[-1])]
    assert len(known) > 38 and np.abs(known[:, None] - times).min(axis=1).max() <= 2
