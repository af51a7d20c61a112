"""Possible beats, and the evidence for each way to read them."""

import numpy as np
import pytest

from musicgen_service.analysis import metre, pulse
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import Beats

FRAMES = round(20 * FRAME_RATE)


def rows(times: np.ndarray, row: int = 0) -> np.ndarray:
    """Envelopes with onsets at times (frames) in one band."""
    result = np.zeros((len(BANDS), FRAMES))
    result[row, np.round(times).astype(int)] = 10.0
    return result


def test_beats_may_be_on_any_third_tick() -> None:
    ticks = np.arange(5.0, FRAMES, 25.0)
    onsets = rows(ticks)
    found = metre.possible_beats(onsets[0], onsets[:1], [ticks])
    thirds = sorted(round(beats.frames[1] % 75) for beats in found if beats.tempo == pytest.approx(69, rel=0.01))
    assert thirds == [5, 30, 55]


def test_the_same_beats_are_listed_once() -> None:
    ticks = np.arange(5.0, FRAMES, 40.0)
    onsets = rows(ticks)
    once = metre.possible_beats(onsets[0], onsets[:1], [ticks])
    assert len(metre.possible_beats(onsets[0], onsets[:1], [ticks, ticks + 1])) == len(once)


def test_there_is_evidence_for_every_reading() -> None:
    beats = Beats(np.arange(-35.0, FRAMES + 40, 40.0), np.zeros(2), 0.0)
    readings = metre.readings(beats)
    assert metre.evidence(rows(beats.frames[1:-2]), beats).shape[0] == len(readings)
    assert {(r.metre.name, r.first_downbeat) for r in readings} >= {("6/8", 1), ("5/4", 4), ("7/4", 6), ("2/4", 0)}


def test_the_right_first_beat_has_most_onsets() -> None:
    grid = np.arange(5.0, FRAMES, 40.0)
    beats = Beats(np.concatenate([[-35.0], grid, [grid[-1] + 40]]), np.zeros(2), 0.0)
    evidence = metre.evidence(rows(grid[2::4]), beats)
    fours = [number for number, reading in enumerate(metre.readings(beats)) if reading.metre.name == "4/4"]
    assert (
        int(np.argmax(evidence[fours, 0])) == 3
    )  # the third tick is the fourth beat, as one lies before the recording


def test_drifting_ticks_follow_a_pulse_that_slows_down() -> None:
    times = np.cumsum(np.linspace(30, 50, 40))
    onsets = rows(times[times < FRAMES - 1])[0]
    periods = np.interp(np.arange(FRAMES), times, np.linspace(30, 50, 40))[None]
    [ticks] = pulse.drifting(onsets, periods)
    known = ticks[(ticks >= times[0]) & (ticks <= times[-1])]
    assert len(known) > 38 and np.abs(known[:, None] - times).min(axis=1).max() <= 2
