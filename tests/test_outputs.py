"""Finished clips: kept until they are delivered, removed by age and by size, gone with a dead process."""

import os
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from musicgen_service import outputs
from musicgen_service.outputs import DELIVERY, MAX_AGE, Outputs


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(outputs, "_COG", tmp_path / "cog")
    return tmp_path / "musicgen-service"


class Clock:
    """A clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("musicgen_service.outputs.time.monotonic", clock)
    return clock


def finished(outputs: Outputs, size: int = 1) -> Path:
    """The file of a request that has ended."""
    with outputs.folder() as folder:
        file = folder / "clip.wav"
        file.write_bytes(bytes(size))
    return file


def test_each_request_has_a_folder_of_its_own() -> None:
    outputs = Outputs()
    first, second = finished(outputs), finished(outputs)
    assert first.parent != second.parent and first.exists() and second.exists()


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_a_request_that_fails_leaves_nothing_and_others_keep_theirs(ending: type[BaseException]) -> None:
    outputs = Outputs()
    before = finished(outputs)
    with pytest.raises(ending), outputs.folder() as folder:
        (folder / "clip.wav").touch()
        raise ending
    assert not folder.exists() and before.exists()


def test_files_go_when_they_are_old(clock: Clock) -> None:
    outputs = Outputs()
    old = finished(outputs)
    clock.now = MAX_AGE - 1
    young = finished(outputs)
    assert old.exists()
    clock.now = MAX_AGE + 1
    outputs.tidy()
    assert not old.parent.exists() and young.exists()


def test_the_oldest_files_go_when_there_are_too_many(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 250)
    kept = Outputs()
    files = []
    for clock.now in (0.0, 1.0, 2.0):
        files.append(finished(kept, 100))
    kept.tidy()
    assert all(file.exists() for file in files)  # they may not be delivered yet
    clock.now = DELIVERY + 10
    kept.tidy()
    assert [file.exists() for file in files] == [False, True, True]


def test_a_request_that_runs_keeps_its_files(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 0)
    kept = Outputs()
    with kept.folder() as folder:
        clock.now = 10 * MAX_AGE
        kept.tidy()
        assert folder.exists()


def test_an_idle_process_tidies_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "DELIVERY", 0.01)
    monkeypatch.setattr(outputs, "MAX_AGE", 0.02)
    file = finished(Outputs())
    end = time.monotonic() + 60
    while file.exists():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_cog_leaves_goes_after_a_day(tmp_path: Path) -> None:
    old, young = tmp_path / "cog" / "old" / "outputs", tmp_path / "cog" / "young" / "outputs"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old.parent, (0, 0))
    Outputs().tidy()
    assert not old.parent.exists() and young.exists()


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
