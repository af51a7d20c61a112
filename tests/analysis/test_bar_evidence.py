"""The evidence for which beats begin bars."""

import numpy as np

from musicgen_service.analysis import bar_evidence, beat_network, metre
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import Beats
from musicgen_service.analysis.metre_evidence import Sound

FRAMES = round(20 * FRAME_RATE)
GRID = np.arange(5.0, FRAMES, 40.0)
BEATS = Beats(np.concatenate([[-35.0], GRID, [GRID[-1] + 40]]), 0.0)
READINGS = metre.readings(BEATS)
RISES = 2  # bands
FIRST_RISE = len(BANDS) + 2  # after the envelopes, and what one network hears


def evidence(times: np.ndarray) -> np.ndarray:
    """Of a recording in which narrow bands get louder at times (frames), and with the same onset on each beat."""
    rows = np.zeros((FIRST_RISE, FRAMES))
    rows[0, np.round(GRID).astype(int)] = 10.0
    rises = np.zeros((RISES, FRAMES))
    rises[:, np.round(times).astype(int)] = 1.0
    return bar_evidence.evidence(Sound.of(rows, rises, rows[0], np.zeros(len(beat_network.TEMPI))), BEATS)


def of_metre(values: np.ndarray, name: str) -> np.ndarray:
    return values[[number for number, reading in enumerate(READINGS) if reading.metre.name == name]]


def test_voices_that_enter_tell_where_bars_begin() -> None:
    for name, count in (("3/4", 3), ("4/4", 4), ("7/4", 7)):
        for first in range(count):
            rises = of_metre(evidence(GRID[first::count]), name)[:, FIRST_RISE]
            # One beat lies before the recording.
            assert int(rises.argmax()) == (first + 1) % count
            assert abs(rises.sum()) < 1e-9


def test_what_is_the_same_on_all_beats_tells_nothing() -> None:
    values = of_metre(evidence(np.zeros(0)), "4/4")
    assert np.allclose(values, values[0], atol=1e-9)


def test_beats_around_the_first_are_known_too() -> None:
    values = of_metre(evidence(GRID[1::4]), "4/4")
    width = values.shape[1] // 5
    difference, third, _, following, before = (values[:, part * width + FIRST_RISE] for part in range(5))
    assert np.array_equal(third, np.roll(difference, -2))
    assert np.array_equal(following, np.roll(difference, -1)) and np.array_equal(before, np.roll(difference, 1))
