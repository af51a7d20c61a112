"""Finished clips: kept until the next request, gone with a dead process."""

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from musicgen_service.outputs import Outputs


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "musicgen-service"


def test_each_request_has_a_folder_of_its_own() -> None:
    outputs = Outputs()
    first = outputs.new_folder()
    (first / "clip.wav").touch()
    second = outputs.new_folder()
    assert first != second and not first.exists() and list(second.iterdir()) == []


def test_what_a_dead_process_left_is_swept(temporary: Path) -> None:
    done = subprocess.Popen(["true"])
    done.wait()
    (temporary / str(done.pid)).mkdir(parents=True)
    Outputs()
    assert list(temporary.iterdir()) == []


def test_a_living_process_keeps_its_files(temporary: Path) -> None:
    other = temporary / str(os.getppid())
    other.mkdir(parents=True)
    Outputs()
    assert other.exists()
