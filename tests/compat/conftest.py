"""Fixtures for tests of the drop-ins."""

from pathlib import Path

import pytest

from musicgen_service.audio.reading import AudioInput
from tests.support.sounds import recording


@pytest.fixture
def no_models_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a new container with an empty weights folder."""
    monkeypatch.setenv("MUSICGEN_MODELS", "")
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def song() -> AudioInput:
    """A second and a half of a chord."""
    return recording(1.5)
