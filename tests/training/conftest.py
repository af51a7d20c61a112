"""Fixtures of trainings: songs, options that are quick, and a weights folder to train in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from demo.synth import Synthesiser
from musicgen_service.models.store import WeightStore
from musicgen_service.training import options as training_options
from musicgen_service.training import samples
from musicgen_service.training.options import Options


@pytest.fixture(scope="session")
def songs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three songs of 7 s at 120 bpm, with a text beside the first. Read only."""
    folder = tmp_path_factory.mktemp("songs")
    for number in range(3):
        song = Synthesiser().song(number, 7.0, bpm=120, drums=True)
        soundfile.write(folder / f"song {number}.wav", song.audio, 32_000)
    (folder / "song 0.txt").write_text("a fast rock song with guitar")
    return folder


@pytest.fixture(autouse=True)
def short_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of a second."""
    monkeypatch.setattr(samples, "_SECONDS", 1.0)


@pytest.fixture
def training_store(weights: Path, tmp_path: Path) -> WeightStore:
    """A weights folder with the session's checkpoints, to put adapters into."""
    folder = tmp_path / "weights"
    folder.mkdir()
    for path in weights.iterdir():
        (folder / path.name).symlink_to(path)
    return WeightStore(folder)


@pytest.fixture
def quick() -> Callable[..., Options]:
    """Makes options of a training of few and short steps."""

    def make(base: str, **given: Any) -> Options:
        values = training_options.defaults(base) | {"name": "style", "base": base}
        values |= {"steps": 6, "every": 2, "crop": 5.0, "rank": 4, "alpha": 8, "rate": 1e-3, "checkpointing": False}
        return Options(**values | given)

    return make
