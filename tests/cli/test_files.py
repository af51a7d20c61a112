"""Files without permissions, and different file systems."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_service.cli import files
from musicgen_service.cli.errors import CommandError, UsageError

NOBODY = 65534


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, without root's permissions."""
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path, *list(tmp_path.parents)[:3]):
        if path != Path(path.anchor) and path.stat().st_uid == os.getuid():
            path.chmod(path.stat().st_mode | 0o055)
    user = os.geteuid()
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "secret.wav").touch(mode=0o200)
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield tmp_path
    finally:
        os.seteuid(user)


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("locked/clip.wav", "The folder locked cannot be written to: Permission denied."),
        ("locked/new/clip.wav", "The folder locked/new cannot be made: Permission denied."),
    ],
)
def test_unwritable_folder_is_rejected(folder: Path, target: str, sentence: str) -> None:
    with pytest.raises(UsageError) as refused, files.writable_targets([Path(target)], force=False):
        pass
    assert str(refused.value) == sentence
    assert list((folder / "locked").iterdir()) == []


@pytest.mark.usefixtures("folder")
def test_unreadable_file_is_rejected() -> None:
    with pytest.raises(UsageError, match=r"^secret.wav cannot be read: Permission denied.$"):
        files.readable_file("secret.wav")


@pytest.mark.parametrize("force", [False, True])
def test_file_system_without_hard_links_works(force: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("sound")
    files.deliver([(source, target)], force=force)
    assert target.read_text() == "sound"
    if not force:
        with pytest.raises(CommandError, match="File exists"):
            files.deliver([(source, target)], force=False)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "source") == ["target"]


def test_file_is_moved_across_file_systems_completely(tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system here")
    source, target = memory / f"{tmp_path.name}-{os.getpid()}", tmp_path / "target"
    source.write_bytes(bytes(range(256)) * 1000)
    try:
        files.deliver([(source, target)], force=False)
        assert target.read_bytes() == source.read_bytes()
    finally:
        source.unlink()


def test_an_interrupted_copy_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(source: Path, copy: Path) -> None:
        copy.write_bytes(source.read_bytes()[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr("musicgen_service.cli.files.shutil.copyfile", half)
    source = tmp_path / "source"
    source.write_text("sound")
    with pytest.raises(KeyboardInterrupt):
        files.deliver([(source, tmp_path / "target")], force=False)
    assert list(tmp_path.iterdir()) == [source]


def test_folder_with_files_of_others_is_kept(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), files.writable_targets([tmp_path / "a/b/clip.wav"], force=False):
        (tmp_path / "a/note").touch()
        raise ZeroDivisionError
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["a", "a/note"]
