"""How far probabilities of beats are trusted."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, logit

from demo import calibrate_metre
from demo.calibrate_metre import Found
from demo.metre_recordings import CALIBRATING, LEARNED, Maker, Recording
from demo.synth import HELD_BACK, SAMPLE_RATE, Synthesiser
from musicgen_service.analysis import metre_model


def test_confidence_is_the_share_that_is_right_in_short_recordings_too() -> None:
    random = np.random.default_rng(1)
    shares, seconds = random.uniform(0.3, 0.99, 4000), random.choice([3.0, 6.0, 20.0], 4000)
    true = expit(0.7 * logit(shares) + 0.5 - 0.9 * np.maximum(0, np.log2(12 / seconds)))
    readings = [
        Found("groove", metre_model.trusting(share, length), bool(right))
        for share, length, right in zip(shares, seconds, random.random(4000) < true, strict=True)
    ]
    line = calibrate_metre.calibration(readings)
    assert line == pytest.approx([0.7, 0.5, -0.9], abs=0.15)
    found = expit(np.array([each.trusting for each in readings]) @ line)
    for length in (3.0, 6.0, 20.0):
        assert found[seconds == length].mean() == pytest.approx(true[seconds == length].mean(), abs=0.03)


def test_what_is_found_is_right_where_the_beats_are(tmp_path: Path) -> None:
    song = Synthesiser().song(HELD_BACK, 13, style="house", bpm=125, drums=True)
    right = Recording(song.audio, SAMPLE_RATE, song.beats, song.downbeats, "4/4", 0)
    with_network, alone = calibrate_metre.found(Maker("song", 0, lambda: right), tmp_path)
    assert with_network and alone and with_network.is_right and alone.is_right
    wrong = replace(right, beats=song.beats + 0.2)
    again, _ = calibrate_metre.found(Maker("song", 1, lambda: wrong), tmp_path)
    assert again and not again.is_right and np.array_equal(again.trusting, with_network.trusting)


def test_recordings_that_weights_are_fitted_to_do_not_calibrate() -> None:
    assert LEARNED.keys() == CALIBRATING.keys()
    assert all(not set(LEARNED[kind]) & set(CALIBRATING[kind]) for kind in LEARNED)
