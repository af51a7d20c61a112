"""Skips the GPU tests on machines without a GPU."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from musicgen_service.engine import fused
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

KINDS = ("small", "melody", "stereo-small", "stereo-melody")
GPU = torch.device("cuda", 0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available():
        for item in items:
            if "tests/gpu" in item.path.as_posix():
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))


def load(store: WeightStore, name: str, monkeypatch: pytest.MonkeyPatch, **settings: str) -> MusicGenModel:
    """Load a model on the GPU with the given settings and no others."""
    for setting in ("MUSICGEN_ENGINE", "MUSICGEN_PRECISION", "MUSICGEN_CUDA_GRAPH"):
        monkeypatch.delenv(setting, raising=False)
    for setting, value in settings.items():
        monkeypatch.setenv(setting, value)
    return load_model(store.checkpoint(name), GPU)


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let models that are loaded inside step without kernels of our own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused, "available", lambda _device: False)
        yield
