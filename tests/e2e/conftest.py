"""Fixtures: one real server for all tests that do not stop it, and one for each drop-in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from musicgen_service import predictors
from tests.support.harness import PROJECT, Server, data_uri, serving
from tests.support.sounds import drums, tone

SONG_SECONDS = 1.5


@pytest.fixture(scope="session")
def folder_to_serve(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoints, the shipped one, and one that is damaged (`medium`)."""
    folder = tmp_path_factory.mktemp("served")
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "demo").symlink_to(PROJECT / "weights" / "demo")
    (folder / "medium").mkdir()
    for name in ("state_dict.bin", "compression_state_dict.bin"):
        (folder / "medium" / name).write_bytes(b"not a checkpoint")
    return folder


@pytest.fixture(scope="session")
def server(folder_to_serve: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that `serve` starts."""
    command = ["-m", "musicgen_service", "serve", "--port"]
    temp = tmp_path_factory.mktemp("server") / "temp"
    with serving(command, PROJECT, temp, MUSICGEN_WEIGHTS=str(folder_to_serve), MUSICGEN_MODELS="small") as running:
        yield running


@pytest.fixture(scope="session")
def song_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stereo recording at 44.1 kHz with a chord on the left and drums on the right."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    left, right = (sound(SONG_SECONDS, rate=44_100)[0] for sound in (tone, drums))
    soundfile.write(path, np.stack([left, right], axis=1), 44_100)
    return path


@pytest.fixture(scope="session")
def song(song_file: Path) -> str:
    """That recording as a data URI."""
    return data_uri(song_file)


@dataclass(frozen=True)
class Served:
    """A server with a drop-in for a system."""

    system: str
    server: Server


@pytest.fixture(scope="session")
def demo_weights(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights folder with the shipped checkpoint and a random separator."""
    folder = tmp_path_factory.mktemp("demo-weights")
    (folder / "demo").symlink_to(PROJECT / "weights" / "demo")
    (folder / "htdemucs").symlink_to(weights / "htdemucs")
    return folder


@pytest.fixture(scope="session", params=predictors.names())
def served(
    request: pytest.FixtureRequest, demo_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The server that `serve --as` starts, with the demo checkpoint in place of every model.

    pytest runs all tests of one before it starts the next.
    """
    command = ["-m", "musicgen_service", "serve", "--as", request.param, "--port"]
    temp = tmp_path_factory.mktemp(request.param) / "temp"
    settings = {"MUSICGEN_WEIGHTS": str(demo_weights), "MUSICGEN_MODELS": "demo"}
    with serving(command, PROJECT, temp, **settings) as running:
        yield Served(request.param, running)
