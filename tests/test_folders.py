"""Temporary folders: ours are marked and removed, all others are kept."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from musicgen_service import folders
from musicgen_service.folders import MARK, OwnFolder, sweep

PREFIX = "musicgen-test-"
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def abandoned(tmp_path: Path) -> Path:
    """A folder whose process has ended, with a file in it."""
    script = f"""
import os
from musicgen_service.folders import OwnFolder
folder = OwnFolder({PREFIX!r})
(folder.path / "clip.wav").touch()
print(folder.path, flush=True)
os._exit(0)
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


def test_folder_of_an_ended_process_is_removed(abandoned: Path) -> None:
    sweep("musicgen-other-")
    assert (abandoned / "clip.wav").exists()
    sweep(PREFIX)
    assert not abandoned.exists()


def test_folder_of_a_running_process_is_private_and_kept() -> None:
    folder = OwnFolder(PREFIX)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    sweep(PREFIX)
    assert folder.exists()
    folder.remove()
    assert not folder.path.exists()


def test_reused_process_id_does_not_keep_a_folder(abandoned: Path) -> None:
    mark = json.loads((abandoned / MARK).read_text())
    (abandoned / MARK).write_text(json.dumps(mark | {"pid": os.getppid()}))
    sweep(PREFIX)
    assert not abandoned.exists()


def test_locked_folder_of_an_invisible_process_is_kept(abandoned: Path) -> None:
    """As in another container with the same temporary folder."""
    script = (
        "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(abandoned / MARK)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline()
        sweep(PREFIX)
        assert abandoned.exists()
    sweep(PREFIX)
    assert not abandoned.exists()


def _without_mark(folder: Path) -> Path:
    (folder / MARK).unlink()
    return folder


def _copied(folder: Path) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(f"{PREFIX}my-copy")))


def _linked(folder: Path) -> Path:
    moved = folder.rename(folder.with_name("victim"))
    folder.symlink_to(moved)
    return moved


def _with_linked_mark(folder: Path) -> Path:
    (folder / MARK).rename(folder / "mark")
    (folder / MARK).symlink_to("mark")
    return folder


def _with_pipe_as_mark(folder: Path) -> Path:
    (folder / MARK).unlink()
    os.mkfifo(folder / MARK)
    return folder


def _with_text(text: str) -> Callable[[Path], Path]:
    def change(folder: Path) -> Path:
        (folder / MARK).write_text(text)
        return folder

    return change


CHANGES: dict[str, Callable[[Path], Path]] = {
    "no mark": _without_mark,
    "a copy": _copied,
    "a link to it": _linked,
    "a linked mark": _with_linked_mark,
    "a pipe": _with_pipe_as_mark,
    "an empty mark": _with_text(""),
    "another's mark": _with_text('{"pid": 1}'),
    "a strange mark": _with_text("[" * 900),
}


@pytest.mark.parametrize("change", CHANGES)
def test_folder_without_a_valid_marker_is_kept(abandoned: Path, change: str) -> None:
    looks = CHANGES[change](abandoned)
    sweep(PREFIX)
    assert (looks / "clip.wav").exists()


@AS_ROOT
@pytest.mark.parametrize("part", [".", MARK])
def test_folder_of_another_user_is_kept(abandoned: Path, part: str) -> None:
    os.chown(abandoned / part, 12345, 12345)
    sweep(PREFIX)
    assert (abandoned / "clip.wav").exists()


def test_a_link_inside_is_removed_and_not_followed(abandoned: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "song.wav").touch()
    (abandoned / "link").symlink_to(victim)
    sweep(PREFIX)
    assert not abandoned.exists() and (victim / "song.wav").exists()


def test_no_folder_remains_when_it_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fcntl.flock", full)
    with pytest.raises(OSError, match="No space"):
        OwnFolder(PREFIX)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A small file system; skips where mounting is not permitted."""
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to the last byte with one file."""
    file = folder / "large"
    with file.open("wb", buffering=0) as out, pytest.raises(OSError, match="No space"):
        while True:
            out.write(bytes(65_536))
    return file


def test_writable_folder_has_no_problem(tmp_path: Path) -> None:
    assert folders.problem() is None and not folders.is_full(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_reported(tmp_path: Path) -> None:
    assert folders.problem(tmp_path / "gone") == "The service's temporary folder is gone: try again when it is back."


def test_file_in_place_of_the_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert folders.problem(tmp_path / "file") == "The service may not write to its temporary folder."


def test_full_disk_is_reported(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m") as small:
        large = fill(small)
        assert folders.problem(small) == "The service has no room left to write files: try again later."
        assert folders.is_full(small)
        large.unlink()
        assert folders.problem(small) is None


def test_lack_of_inodes_is_reported(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m,nr_inodes=20") as small:
        files = [small / str(number) for number in range(19)]
        for file in files:
            file.touch()
        problem = folders.problem(small)
        assert problem and problem.startswith("The service's disk has no inodes left") and folders.is_full(small)
        for file in files:
            file.unlink()
        assert folders.problem(small) is None
