"""BeatNet's network with its own weights."""

from pathlib import Path

import numpy as np
import pytest

from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.models import beatnet, packaged
from musicgen_service.models.beatnet import BeatNet
from musicgen_service.models.catalogue import BEATNET
from tests.support.recordings import recording

# The means of what the three networks of the package BeatNet 1.1.3 say, listening with madmom 0.17.
FRAMES = [0, 1, 25, 50, 75, 100, 101, 128, 200, 300, 399]
BEATS = [0.0628, 0.1359, 0.6879, 0.3385, 0.4015, 0.1912, 0.1128, 0.0004, 0.2717, 0.6008, 0.2123]
DOWNBEATS = [0.0346, 0.6564, 0.2487, 0.5321, 0.4502, 0.7291, 0.603, 0.0, 0.5466, 0.3043, 0.1571]


@pytest.fixture(scope="module")
def network() -> BeatNet:
    assert packaged.has(BEATNET), "run make install"
    return BeatNet(packaged.files(BEATNET))


def heard_on(network: BeatNet, name: str) -> np.ndarray:
    audio = recording(name)
    return network.hear(mono(audio.samples, audio.rate))


def test_output_is_that_of_beatnet_itself(network: BeatNet) -> None:
    heard = heard_on(network, "loop_garzul")
    assert heard.shape == (2, 400)
    assert np.abs(heard[:, FRAMES] - [BEATS, DOWNBEATS]).max() < 1e-3


def test_a_long_recording_is_heard_like_its_parts(network: BeatNet, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = recording("loop_garzul")
    repeated = np.tile(mono(audio.samples, audio.rate), 5)
    in_chunks = network.hear(repeated)
    monkeypatch.setattr(beatnet, "_CHUNK", 10_000)
    at_once = network.hear(repeated)
    assert in_chunks.shape == at_once.shape == (2, 2000)
    # A chunk begins without what was heard more than ten seconds before.
    assert np.abs(in_chunks - at_once).max() < 0.15 and np.abs(in_chunks - at_once).mean() < 1e-3


@pytest.mark.parametrize("samples", [1, 440, 441, 442, 30 * RATE, 30 * RATE + 1])
def test_there_is_a_frame_for_every_fiftieth_of_a_second(network: BeatNet, samples: int) -> None:
    heard = network.hear(np.zeros(samples, np.float32))
    assert heard.shape == (2, -(-samples // 441)) and np.isfinite(heard).all()


def test_only_arrays_are_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"no archive")
    with pytest.raises(Exception, match="zip"):
        BeatNet([path])
