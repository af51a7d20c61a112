"""The evidence for each way to read the beats of a recording."""

import numpy as np
import pytest

from musicgen_service.analysis import beat_network, metre, metre_evidence
from musicgen_service.analysis.envelopes import BANDS, FRAME_RATE
from musicgen_service.analysis.metre import Beats
from musicgen_service.analysis.metre_evidence import Evidence, Sound

FRAMES = round(20 * FRAME_RATE)
GRID = np.arange(5.0, FRAMES, 40.0)
BEATS = Beats(np.concatenate([[-35.0], GRID, [GRID[-1] + 40]]), 0.0)
READINGS = metre.readings(BEATS)


def evidence(times: np.ndarray, beats: Beats = BEATS, networks: int = 1) -> np.ndarray:
    """Of a recording with low onsets at times (frames)."""
    rows = np.zeros((len(BANDS) + 2 * networks, FRAMES))
    rows[0, np.round(times).astype(int)] = 10.0
    rows[len(BANDS) :, np.round(times).astype(int)] = 6.0
    sound = Sound.of(rows, np.zeros((1, FRAMES)), rows[0], np.zeros(len(beat_network.TEMPI)))
    return Evidence(sound, sound).of(beats)


def fours(values: np.ndarray) -> np.ndarray:
    return values[[number for number, reading in enumerate(READINGS) if reading.metre.name == "4/4"]]


@pytest.mark.parametrize("networks", [1, 2])
def test_there_is_evidence_for_every_reading(networks: int) -> None:
    values = evidence(GRID, networks=networks)
    assert len(values) == len(READINGS) and np.isfinite(values).all()
    assert {(r.metre.name, r.first_downbeat) for r in READINGS} >= {("6/8", 1), ("5/4", 4), ("7/4", 6), ("2/4", 0)}


def test_the_right_first_beat_has_most_onsets() -> None:
    # The third tick is the fourth beat, as one lies before the recording.
    assert int(np.argmax(fours(evidence(GRID[2::4]))[:, 0])) == 3


@pytest.mark.parametrize("bar", [3, 4, 5, 7])
def test_beats_are_most_like_those_a_bar_later(bar: int) -> None:
    random = np.random.default_rng(bar)
    vectors = np.resize(random.normal(size=(bar, 12)), (40, 12)) + 0.2 * random.normal(size=(40, 12))
    found = metre_evidence.similarities(vectors)
    assert set(np.argsort(-found)[: 14 // bar]) == set(range(bar, 15, bar))
    assert found.max() < 1 and found[1:bar].max() < found[bar] / 2


def test_a_loop_is_known_from_a_recording() -> None:
    loop = Beats(BEATS.frames, 0.0, 8)
    assert not np.array_equal(evidence(GRID, loop), evidence(GRID))
