"""Fixtures: a predictor with its own weights, which tests may damage, and a song for it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.faults.predictor import Predictor
from tests.support.sounds import RATE, tone


@pytest.fixture(scope="module")
def own_weights(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the weights that a test may damage."""
    return Path(shutil.copytree(weights, tmp_path_factory.mktemp("own") / "weights"))


@pytest.fixture(scope="module")
def predictor(own_weights: Path) -> Iterator[Predictor]:
    """One for all tests of a file: each of them finds it working again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MUSICGEN_WEIGHTS", str(own_weights))
        patch.setenv("MUSICGEN_MODELS", "small")
        patch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
        predictor = Predictor()
        predictor.setup()
        yield predictor


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5).T, RATE)
    return path
