"""Beginnings of kicks, alone and in a band, to a hundredth of a second."""

import tracemalloc

import numpy as np
import pytest

from demo.synth import SAMPLE_RATE, Synthesiser
from demo.synth.drums import KITS, add_hit
from musicgen_service.analysis import kicks
from tests.support.recordings import recording


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("level", [0.01, 1.0])
def test_kicks_begin_where_they_were_played(kit: str, level: float) -> None:
    times = [0.0, 0.31, 0.9, 1.4]
    sound = np.zeros(2 * SAMPLE_RATE, np.float32)
    for time in times:
        add_hit(sound, kit, "kick", round(time * SAMPLE_RATE), level)
        add_hit(sound, kit, "hat", round((time + 0.2) * SAMPLE_RATE), level)
    assert kicks.beginnings(np.stack([sound, sound]), SAMPLE_RATE).tolist() == pytest.approx(times, abs=0.012)


def test_kicks_are_found_in_a_band() -> None:
    missed = []
    for seed in range(6):
        song = Synthesiser().song(700 + seed, 10, drums=True)
        alone = kicks.beginnings(song.stems["drums"][None], SAMPLE_RATE)
        found = kicks.beginnings(song.audio[None], SAMPLE_RATE)
        starts = [time for time in song.downbeats if time < 9.5 and np.abs(alone - time).min() < 0.012]
        missed += [np.abs(found - time).min() > 0.012 for time in starts]
    assert len(missed) > 15 and np.mean(missed) <= 0.05


def test_a_loop_of_people_begins_on_a_kick() -> None:
    audio = recording("loop_garzul")
    found = kicks.beginnings(audio.samples, audio.rate)
    assert found[0] == pytest.approx(0, abs=0.01)
    assert np.abs(found - 4.0).min() < 0.01  # its second half begins like its first


@pytest.mark.parametrize("samples", [0, 10, SAMPLE_RATE])
def test_silence_has_none(samples: int) -> None:
    assert not len(kicks.beginnings(np.zeros((2, samples), np.float32), SAMPLE_RATE))


def test_hats_are_no_kicks() -> None:
    sound = np.zeros(2 * SAMPLE_RATE, np.float32)
    add_hit(sound, "electronic", "kick", 0, 1.0)
    for number in range(1, 8):
        add_hit(sound, "electronic", "hat", number * SAMPLE_RATE // 4, 1.0)
    assert len(kicks.beginnings(sound[None], SAMPLE_RATE)) == 1


def test_a_long_recording_is_transformed_in_parts() -> None:
    sound = np.random.default_rng(1).normal(0, 0.1, (1, 60 * 4000)).astype(np.float32)
    tracemalloc.start()
    kicks.beginnings(sound, 4000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 50e6  # all spectra together have 120 MB
