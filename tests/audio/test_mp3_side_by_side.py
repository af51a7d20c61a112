"""Concurrent writes of mp3 files do not affect each other."""

import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import encoding
from musicgen_service.audio.tags import Tags
from tests.support.cancelling import Cancelled, cancelled_when
from tests.support.sounds import RATE, tone

TAGS = Tags("jazz", '{"seed": 5}', "a test")


def write(folder: Path, number: int) -> Path:
    """Write a clip with a length and a title that depend on `number`."""
    path = folder / f"{number}.mp3"
    encoding.write(tone(1 + number, 2), RATE, path, replace(TAGS, title=f"clip {number}"))
    return path


def test_four_threads_write_correct_files(tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    together.mkdir()
    alone.mkdir()
    temporary = tempfile.gettempdir()
    before = set(Path(temporary).iterdir())
    with ThreadPoolExecutor(4) as threads:
        files = list(threads.map(lambda number: write(together, number), range(4)))
    assert tempfile.gettempdir() == temporary and not set(Path(temporary).glob("tmp*.wav")) - before
    assert sorted(together.iterdir()) == files
    for number, file in enumerate(files):
        with soundfile.SoundFile(file) as sound:
            assert sound.frames == (1 + number) * RATE and sound.title == f"clip {number}"
        assert file.read_bytes() == write(alone, number).read_bytes()


def test_cancel_kills_only_its_own_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: dict[str, subprocess.Popen[bytes]] = {}
    starts = {"kept": threading.Event(), "cancelled": threading.Event()}

    class Watched(subprocess.Popen):
        def __init__(self, arguments: list[str], **options: Any) -> None:
            super().__init__(arguments, **options)
            for name, event in starts.items():
                if any(name in argument for argument in arguments):
                    started[name] = self
                    if name == "cancelled":
                        assert started["kept"].poll() is None, "both were to run at once"
                    event.set()

    def write(name: str, minutes: int) -> None:
        folder = tmp_path / name
        folder.mkdir()
        encoding.write(np.zeros((1, minutes * 60 * RATE), np.float32), RATE, folder / "clip.mp3", TAGS)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    thread = threading.Thread(target=write, args=("kept", 20))
    thread.start()
    assert starts["kept"].wait(30)
    assert isinstance(cancelled_when(starts["cancelled"], lambda: write("cancelled", 5)), Cancelled)
    thread.join(60)
    assert (started["cancelled"].returncode, started["kept"].returncode) == (-9, 0)
    assert soundfile.info(tmp_path / "kept" / "clip.mp3").frames == 1200 * RATE
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*.mp3")] == [Path("kept/clip.mp3")]
    assert list((tmp_path / "cancelled").iterdir()) == []
