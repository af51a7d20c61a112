"""Fixtures: a weights folder with random tiny checkpoints, built once per session, and a hub."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile
import torch

from musicgen_service.models.catalogue import COMPONENTS
from musicgen_service.models.store import WeightStore
from musicgen_service.service import MusicGenService
from tests.support import checkpoints
from tests.support.hub import CODEC, Hub, running
from tests.support.sounds import tone

# Servers that the tests start inherit what is ignored here: SIGINT and SIGQUIT, where a shell runs the tests in the
# background.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)

# One thread is faster for tiny models: the second would wait at a barrier after every small operation.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder: small, melody, stereo-small, stereo-melody and all they need. Read only."""
    folder = tmp_path_factory.mktemp("weights")
    checkpoints.build_checkpoint(folder, "small")
    checkpoints.build_checkpoint(folder, "melody", melody=True)
    checkpoints.build_checkpoint(folder, "stereo-small", stereo=True)
    checkpoints.build_checkpoint(folder, "stereo-melody", stereo=True, melody=True)
    checkpoints.build_diffusion(folder)
    checkpoints.build_separator(folder)
    return folder


@pytest.fixture(scope="session")
def store(weights: Path) -> WeightStore:
    """The store of that folder."""
    return WeightStore(weights)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty local hub in place of the real one."""
    from huggingface_hub import constants

    with running() as hub:
        # The client reads HF_ENDPOINT when it is imported.
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr("musicgen_service.models.hub._PAUSE", 0.0)
        yield hub


@pytest.fixture
def released(hub: Hub, weights: Path) -> Hub:
    """The hub with `small`, `melody` and the parts they need."""
    for name in ("t5-base", "htdemucs", "multi-band-diffusion"):
        hub.add(str(COMPONENTS[name].hub_id), weights / name)
    hub.repositories["facebook/encodec_32khz"] = dict(CODEC)
    hub.add("facebook/musicgen-small", weights / "small")
    hub.add("facebook/musicgen-melody", weights / "melody")
    hub.repositories["facebook/musicgen-small"]["README.md"] = b"about"
    return hub


@pytest.fixture
def shell(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell in an empty folder, with a tiny `melody` in the weights folder."""
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    monkeypatch.setenv("MUSICGEN_MODELS", "")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def service(weights: Path) -> Iterator[MusicGenService]:
    """A service with two models loaded, for the tests of one file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(weights))
        service = MusicGenService()
        service.setup(["small", "stereo-melody"])
        yield service


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A recording of 1.5 s at 44.1 kHz, in stereo."""
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5, 2, rate=44_100).T, 44_100)
    return path
