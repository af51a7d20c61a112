"""Fixtures of the weights tests."""

import shutil
from pathlib import Path

import pytest

from musicgen_service.models.catalogue import T5
from musicgen_service.models.store import WeightStore


@pytest.fixture
def own(weights: Path, tmp_path: Path) -> WeightStore:
    """`small` and its text encoder in a folder that a test may damage."""
    for name in ("small", T5):
        shutil.copytree(weights / name, tmp_path / name)
    return WeightStore(tmp_path)
