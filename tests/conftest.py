"""What tests share: a weights folder with random tiny checkpoints, built once per session."""

from pathlib import Path

import pytest
import torch

from musicgen_service.models.store import WeightStore
from tests.support import checkpoints

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
def shell(weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A shell in an empty folder, with a tiny `melody` in the weights folder."""
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    monkeypatch.setenv("MUSICGEN_MODELS", "")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    monkeypatch.chdir(tmp_path)
