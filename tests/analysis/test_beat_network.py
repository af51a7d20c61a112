"""Our own networks that hear beats, downbeats and the tempo."""

import numpy as np
import pytest
import torch

from demo.beat_network_module import Network
from demo.synth import SAMPLE_RATE, Synthesiser
from demo.synth.song import Song
from musicgen_service.analysis import beat_network, beats
from musicgen_service.analysis.beat_network import NETWORK_RATE, TEMPI
from musicgen_service.analysis.envelopes import BANDS, HOP, MELS, RATE, envelopes, loudness, mono

FEATURES, FRAMES = 2 * MELS + len(BANDS) + 2, 300


@pytest.fixture(scope="module")
def song() -> Song:
    return Synthesiser().song(77, 16.0, bpm=100, drums=True, beats_per_bar=4)


def inputs_of(samples: np.ndarray, rate: int) -> np.ndarray:
    audio = mono(samples, rate)
    loud = loudness(audio)
    rows = envelopes(audio, loud)
    return beat_network.inputs(loud, rows, np.zeros((2, rows.shape[1])))


def test_it_computes_what_is_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    networks = [Network(FEATURES).eval() for _ in (0, 1)]
    monkeypatch.setattr(beat_network, "_weights", lambda: [network.weights() for network in networks])
    sound = np.random.default_rng(4).normal(size=(FEATURES, FRAMES)).astype(np.float32)
    with torch.no_grad():
        scores, tempi = zip(*(n(torch.from_numpy(sound)[None], torch.ones(1, FRAMES)) for n in networks), strict=True)
    heard = beat_network.hear(sound)
    expected = torch.stack([torch.sigmoid(one[0]) for one in scores]).mean(0).numpy()
    assert heard.beats == pytest.approx(expected, abs=1e-5)
    assert heard.tempi == pytest.approx(torch.stack([one[0].log_softmax(0) for one in tempi]).mean(0).numpy(), abs=1e-4)
    second = beat_network.hear(sound, slice(1, 2))
    assert second.beats == pytest.approx(torch.sigmoid(scores[1][0]).numpy(), abs=1e-5)


def test_it_hears_beats_downbeats_and_the_tempo(song: Song) -> None:
    heard = beat_network.hear(inputs_of(song.audio, SAMPLE_RATE))
    at = np.arange(heard.beats.shape[1]) / NETWORK_RATE
    for row, times in zip(heard.beats, (song.beats, song.downbeats), strict=True):
        near = np.abs(at[:, None] - times).min(axis=1)
        assert row[near < 0.03].mean() > 4 * row[near > 0.1].mean()
    best = TEMPI[heard.tempi.argmax()]
    assert min(abs(np.log2(best / (song.bpm * octave))) for octave in (0.5, 1, 2)) < 0.1


def test_probabilities_of_tempi_add_up_to_one_for_each_network(song: Song) -> None:
    heard = beat_network.hear(inputs_of(song.audio, SAMPLE_RATE), slice(0, 1))
    assert np.exp(heard.tempi).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("samples", [2 * HOP, RATE, 5 * RATE + 7])
def test_recordings_of_any_length_and_silence_are_heard(samples: int) -> None:
    audio = np.zeros(samples, np.float32)
    heard = beats.hear(audio, None)
    assert all(np.isfinite(one.rows).all() and np.isfinite(one.tempi).all() for one in heard)


def test_frames_are_taken_in_pairs() -> None:
    loud = np.zeros((MELS, 7), np.float32)
    loud[5, 4:] = 2.0
    found = beat_network.inputs(loud, np.zeros((len(BANDS), 7)), np.ones((2, 7)))
    assert found.shape == (FEATURES, 3)
    assert list(found[5]) == [0, 0, 0.5] and list(found[MELS + 5]) == [0, 2, 2]
