"""What tests share: a weights folder with random tiny checkpoints, built once per session."""

from pathlib import Path

import pytest
import torch

from musicgen_service.models.store import WeightStore
from tests import checkpoints

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
