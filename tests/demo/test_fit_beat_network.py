"""The fit of the networks that hear beats, on two songs."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from demo import fit_beat_network, metre_recordings
from demo.beat_network_module import Network
from demo.fit_beat_network import Sound
from demo.metre_recordings import FOLDS, NETWORKS, PARTS, Maker, networks_of
from musicgen_service.analysis.beat_network import NETWORK_RATE, TEMPI

SONGS = (9_001, 9_003)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> list[Sound]:
    folder: Path = tmp_path_factory.mktemp("heard")
    makers = [Maker("song", number, partial(metre_recordings.song, number)) for number in SONGS]
    return [sound for maker in makers for sound in fit_beat_network.sounds(maker, folder)]


def drawn(every: list[Sound]) -> fit_beat_network.Batch:
    return fit_beat_network.drawn(every, np.full(len(every), 1 / len(every)), np.random.default_rng(5))


def test_what_is_drawn_has_its_beats_where_they_are_heard(every: list[Sound], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit_beat_network, "CROP", 10_000)  # whole songs
    for stretched in (0.0, 1.0):
        monkeypatch.setattr(fit_beat_network, "_STRETCHED", stretched)
        batch = drawn(every)
        for place in range(4):
            beats = np.flatnonzero(batch.targets[place, 0] == 1)
            tempo = 60 * NETWORK_RATE / np.median(np.diff(beats))
            assert TEMPI[batch.tempi[place].argmax()] == pytest.approx(tempo, rel=0.05)
            assert set(np.flatnonzero(batch.targets[place, 1] == 1)) <= set(beats)
        tempi = {round(float(60 * NETWORK_RATE / np.diff(np.flatnonzero(t[0] == 1)).mean())) for t in batch.targets}
        assert (len(tempi) > 2 * len(SONGS)) == bool(stretched)


def test_every_recording_is_left_out_by_as_many_networks() -> None:
    left_out = [range(NETWORKS)[networks_of(fold)] for fold in range(FOLDS)]
    assert {len(numbers) for numbers in left_out} == {NETWORKS // PARTS}
    assert set().union(*left_out) == set(range(NETWORKS))


@pytest.mark.slow
def test_the_loss_falls(every: list[Sound], monkeypatch: pytest.MonkeyPatch) -> None:
    batch = drawn(every)
    torch.manual_seed(0)
    before = fit_beat_network.loss(Network(len(every[0].inputs)).eval(), batch).item()
    monkeypatch.setattr(fit_beat_network, "FRAMES", 60 * fit_beat_network.CROP * fit_beat_network.BATCH)
    after = fit_beat_network.loss(fit_beat_network.fit(every, 0).eval(), batch).item()
    assert after < 0.7 * before
