"""Finished clips are kept until delivery, and removed by age, by size, and after the end of their process."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from musicgen_service import folders, outputs
from musicgen_service.folders import OwnFolder
from musicgen_service.outputs import DELIVERY_TIME, MAX_AGE, Outputs


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(outputs, "COG_FOLDER", tmp_path / "coglet" / "predictions")


class Clock:
    """A clock set by the test."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("musicgen_service.outputs.time.monotonic", clock)
    return clock


def finished(outputs: Outputs, size: int = 1) -> Path:
    """The file of a finished request."""
    with outputs.folder() as folder:
        file = folder / "clip.wav"
        file.write_bytes(bytes(size))
    return file


def test_each_request_has_its_own_folder() -> None:
    outputs = Outputs()
    first, second = finished(outputs), finished(outputs)
    assert first.parent != second.parent and first.exists() and second.exists()


def test_first_requests_at_the_same_time_keep_their_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowFolder(OwnFolder):
        def __init__(self, prefix: str) -> None:
            time.sleep(0.05)  # as on a busy machine
            super().__init__(prefix)

    monkeypatch.setattr("musicgen_service.folders.OwnFolder", SlowFolder)
    outputs, together = Outputs(), threading.Barrier(4)

    def request(_: int) -> Path:
        together.wait()
        with outputs.folder() as folder:
            together.wait()
            gc.collect()
            (folder / "clip.wav").touch()
        return folder

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(request, range(4)))) == 4


@pytest.mark.parametrize("ending", [ValueError, KeyboardInterrupt])
def test_failed_request_removes_only_its_own_files(ending: type[BaseException]) -> None:
    outputs = Outputs()
    before = finished(outputs)
    with pytest.raises(ending), outputs.folder() as folder:
        (folder / "clip.wav").touch()
        raise ending
    assert not folder.exists() and before.exists()


def test_old_files_are_removed(clock: Clock) -> None:
    outputs = Outputs()
    old = finished(outputs)
    clock.now = MAX_AGE - 1
    young = finished(outputs)
    assert old.exists()
    clock.now = MAX_AGE + 1
    outputs.clean_up()
    assert not old.parent.exists() and young.exists()


def test_oldest_files_are_removed_beyond_the_size_limit(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 250)
    kept = Outputs()
    files = []
    for clock.now in (0.0, 1.0, 2.0):
        files.append(finished(kept, 100))
    kept.clean_up()
    assert all(file.exists() for file in files)  # they may not be delivered yet
    clock.now = DELIVERY_TIME + 10
    kept.clean_up()
    assert [file.exists() for file in files] == [False, True, True]


def test_all_files_are_removed_at_the_end_of_a_command() -> None:
    outputs = Outputs()
    own = finished(outputs).parent.parent
    outputs.remove_all()
    assert not own.exists()
    assert finished(outputs).exists()  # in a new folder


def test_running_request_keeps_its_files(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "MAX_BYTES", 0)
    kept = Outputs()
    with kept.folder() as folder:
        clock.now = 10 * MAX_AGE
        kept.clean_up()
        assert folder.exists()


def test_idle_process_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "DELIVERY_TIME", 0.01)
    monkeypatch.setattr(outputs, "MAX_AGE", 0.02)
    kept = Outputs()
    file = finished(kept)
    end = time.monotonic() + 60
    while file.exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    # For good, as its thread would clean up while other tests run.
    harmless = threading.Event()
    vars(kept)["clean_up"] = harmless.set
    assert harmless.wait(60)


@pytest.fixture
def cog(tmp_path: Path) -> Path:
    folder = tmp_path / "coglet" / "predictions"
    folder.mkdir(parents=True)
    return folder


def leave(folder: Path, *parts: str) -> Path:
    """An old folder of a prediction as Cog leaves it."""
    for part in parts:
        (folder / part).mkdir(parents=True)
        (folder / part / "file").touch()
    os.utime(folder, (0, 0))
    return folder


def test_cogs_folders_are_removed_after_a_day(cog: Path) -> None:
    old, young = leave(cog / "old", "inputs", "outputs"), leave(cog / "young", "inputs", "outputs")
    os.utime(young)
    Outputs().clean_up()
    assert not old.exists() and young.exists()


def test_request_does_not_wait_for_cogs_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    sweeping: list[threading.Thread] = []  # those of other services may
    monkeypatch.setattr(folders, "sweep_old", lambda *_: sweeping.append(threading.current_thread()))
    finished(Outputs())
    assert threading.current_thread() not in sweeping


def test_other_files_in_cogs_folder_are_kept(cog: Path, tmp_path: Path) -> None:
    notes = leave(cog / "notes", "inputs", "outputs", "drafts")
    (cog / "file").touch()
    os.utime(cog / "file", (0, 0))
    victim = leave(tmp_path / "victim", "inputs", "outputs")
    (cog / "link").symlink_to(victim)
    os.utime(cog / "link", (0, 0), follow_symlinks=False)
    Outputs().clean_up()
    assert len(list(notes.rglob("file"))) == 3 and (cog / "file").exists() and len(list(victim.rglob("file"))) == 2


@pytest.mark.parametrize("link", ["coglet", "coglet/predictions"])
def test_symlink_in_place_of_cogs_folder_is_not_followed(cog: Path, tmp_path: Path, link: str) -> None:
    moved = (tmp_path / link).rename(tmp_path / "elsewhere")
    (tmp_path / link).symlink_to(moved)
    old = leave(cog / "old", "inputs", "outputs")
    Outputs().clean_up()
    assert old.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_predictions_of_another_user_are_kept(cog: Path) -> None:
    others = leave(cog / "old", "inputs", "outputs")
    os.chown(others, 12345, 12345)
    Outputs().clean_up()
    assert others.exists()
    os.chown(others, 0, 0)
    os.chown(cog, 12345, 12345)
    Outputs().clean_up()
    assert others.exists()


def test_only_files_of_ended_processes_are_removed(tmp_path: Path) -> None:
    kept = finished(Outputs())
    script = "import os; from tests.test_outputs import *; o = Outputs(); print(finished(o), flush=True); os._exit(0)"
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    left = Path(done.stdout.strip())
    assert left.exists() and left.is_relative_to(tmp_path)
    Outputs()
    assert not left.parent.parent.exists() and kept.exists()


def test_process_whose_files_were_all_moved_leaves_no_folder(tmp_path: Path) -> None:
    script = "from tests.test_outputs import *; finished(Outputs()).rename('clip.wav')"
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.wav"]


def test_cleared_folder_is_created_again(tmp_path: Path) -> None:
    outputs = Outputs()
    shutil.rmtree(finished(outputs).parent.parent)
    assert finished(outputs).exists()
