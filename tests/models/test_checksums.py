"""Checksums of large files are kept for later processes, and never those of files that have changed since."""

import os
from pathlib import Path

import pytest

from musicgen_service.models import checksums, manifest
from musicgen_service.models.checksums import Checksums

SIZE = 2**20


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A large file, which counts as one that was not changed lately."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "_SETTLED", -(10**12))
    file = tmp_path / "weights"
    file.write_bytes(bytes(SIZE))
    return file


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    read: list[Path] = []
    real = manifest.sha256

    def sha256(path: Path) -> str:
        read.append(path)
        return real(path)

    monkeypatch.setattr(manifest, "sha256", sha256)
    return read


def test_later_process_does_not_read_a_large_file_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = file.with_name("small")
    small.write_bytes(b"config")
    expected = [manifest.sha256(path) for path in (file, small)]
    read = count_reads(monkeypatch)
    for _ in range(2):
        assert [Checksums().of(path) for path in (file, small)] == expected
    assert read == [file, small, small]


def test_changed_file_of_the_same_size_and_time_is_read_again(file: Path) -> None:
    before = Checksums().of(file)
    stat = file.stat()
    file.write_bytes(bytes(SIZE - 1) + b"1")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_mtime_ns == stat.st_mtime_ns
    assert Checksums().of(file) == manifest.sha256(file) != before


def test_file_that_has_just_been_changed_is_not_kept(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file.parent / "cache"))
    monkeypatch.setattr(checksums, "_SETTLED", 10**12)
    read = count_reads(monkeypatch)
    for _ in range(2):
        Checksums().of(file)
    assert read == [file, file]


def test_files_that_are_gone_are_forgotten(file: Path) -> None:
    other = file.with_name("other")
    other.write_bytes(bytes(SIZE))
    Checksums().of(other)
    other.unlink()
    Checksums().of(file)
    assert checksums._kept().keys() == {str(file)}


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": [1]}', None], ids=["empty", "list", "short", "no folder"])
def test_what_cannot_be_read_or_kept_is_done_without(content: bytes | None, file: Path) -> None:
    folder = checksums._file().parent
    if content is None:
        folder.parent.write_bytes(b"")
    else:
        folder.mkdir(parents=True)
        checksums._file().write_bytes(content)
    assert Checksums().of(file) == manifest.sha256(file)
    assert (str(file) in checksums._kept()) == (content is not None)
    assert content is None or [kept.name for kept in folder.iterdir()] == ["checksums.json"]
