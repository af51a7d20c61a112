"""What the tests of the drop-ins share."""

from pathlib import Path

import pytest
import soundfile

from tests.audio.sounds import RATE, tone


@pytest.fixture
def no_models_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a fresh container, with nothing in its weights folder."""
    monkeypatch.setenv("MUSICGEN_MODELS", "")
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path / "weights"))


@pytest.fixture
def song(tmp_path: Path) -> Path:
    """A second and a half of a chord."""
    path = tmp_path / "song.wav"
    soundfile.write(path, tone(1.5)[0], RATE)
    return path
