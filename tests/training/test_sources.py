"""Songs of folders and archives: what is found, and what no archive can do."""

import errno
import io
import os
import random
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from musicgen_service.training import sources
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.sources import Source

CONTENT = {
    "b.mp3": b"second",
    "a.wav": b"first",
    "a.txt": b"lofi piano\n",
    "album/c.flac": b"third",
    "album/c.flac.json": b'{"caption": "house"}',
    "cover.jpg": b"picture",
    "alone.txt": b"no song",
    ".DS_Store": b"system",
    "__MACOSX/a.wav": b"system",
}


def folder(path: Path, content: dict[str, bytes]) -> Path:
    for name, data in content.items():
        (path / "songs" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "songs" / name).write_bytes(data)
    return path / "songs"


def zipped(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path / "songs.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path / "songs.zip"


def tarred(path: Path, content: dict[str, bytes]) -> Path:
    with tarfile.open(path / "songs.tgz", "w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path / "songs.tgz"


Make = Callable[[Path, dict[str, bytes]], Path]


def find(path: Path, tmp_path: Path) -> Source:
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    return sources.find([path], work)


@pytest.mark.parametrize("make", [folder, zipped, tarred])
def test_songs_come_with_the_texts_beside_them(make: Make, tmp_path: Path) -> None:
    found = find(make(tmp_path, CONTENT), tmp_path)
    assert [(song.name, song.path.read_bytes(), song.text, song.text_kind) for song in found.songs] == [
        ("a.wav", b"first", "lofi piano\n", "txt"),
        ("album/c.flac", b"third", '{"caption": "house"}', "json"),
        ("b.mp3", b"second", None, "txt"),
    ]
    assert found.others == ["alone.txt", "cover.jpg"]


def test_a_text_with_the_whole_name_of_a_song_comes_first(tmp_path: Path) -> None:
    album, captions = tmp_path / "album", tmp_path / "captions"
    album.mkdir()
    captions.mkdir()
    archives = [
        zipped(album, {"x/a.wav": b"first", "x/a.txt": b"rock", "x/b.wav": b"second"}),
        zipped(captions, {"x/a.wav.txt": b"jazz", "x/b.wav.txt": b"house"}),
    ]
    (work := tmp_path / "work").mkdir()
    found = sources.find(archives, work)
    assert [(song.name, song.text) for song in found.songs] == [("x/a.wav", "jazz"), ("x/b.wav", "house")]
    assert found.others == ["x/a.txt"]


@pytest.mark.parametrize("make", [folder, tarred])
def test_names_are_the_same_however_they_are_written(make: Make, tmp_path: Path) -> None:
    content = {"./a.wav": b"first", "./a.TXT": b"rock", "./b.WAV": b"second", "./b.WAV.Json": b'"jazz"', "./c.Txt": b""}
    found = find(make(tmp_path, content), tmp_path)
    assert [(song.name, song.text, song.text_kind) for song in found.songs] == [
        ("a.wav", "rock", "txt"),
        ("b.WAV", '"jazz"', "json"),
    ]
    assert found.others == ["c.Txt"]


@pytest.mark.parametrize("make", [folder, tarred])
def test_names_that_are_no_utf_8_can_be_shown(make: Make, tmp_path: Path) -> None:
    names = [os.fsdecode(name) for name in (b"caf\xe9.wav", b"caf\xe8.wav", b"caf\xe8.txt")]
    found = find(make(tmp_path, dict.fromkeys(names, b"words")), tmp_path)
    assert [(song.name, song.text) for song in found.songs] == [("caf\\xe8.wav", "words"), ("caf\\xe9.wav", None)]


def test_a_single_song_is_enough(tmp_path: Path) -> None:
    [song] = find(folder(tmp_path, {"a.wav": b"first"}) / "a.wav", tmp_path).songs
    assert song.path.read_bytes() == b"first"


@pytest.mark.parametrize("make", [zipped, tarred])
@pytest.mark.parametrize(
    "name", ["../../evil.wav", "/tmp/evil-of-an-archive.wav", "a/../../../evil.wav", "C:\\evil.wav"]
)
def test_no_path_of_an_archive_is_followed(make: Make, name: str, tmp_path: Path) -> None:
    before = {path for path in tmp_path.parent.rglob("*evil*") if path.is_file()}
    [song] = find(make(tmp_path, {name: b"sound"}), tmp_path).songs
    assert song.path.parent == tmp_path / "work" and song.path.read_bytes() == b"sound"
    assert {path for path in tmp_path.parent.rglob("*evil*") if path.is_file()} == before
    assert not Path("/tmp/evil-of-an-archive.wav").exists()


def test_links_and_devices_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        for kind, name in ((tarfile.SYMTYPE, "sym.wav"), (tarfile.LNKTYPE, "hard.wav"), (tarfile.CHRTYPE, "dev.wav")):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
        info = tarfile.TarInfo("real.wav")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"real"))
    with zipfile.ZipFile(tmp_path / "links.zip", "w") as archive_of_zip:
        link = zipfile.ZipInfo("sym.wav")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive_of_zip.writestr(link, str(secret))
        archive_of_zip.writestr("real.wav", b"real")
    songs = folder(tmp_path, {"real.wav": b"real"})
    (songs / "sym.wav").symlink_to(secret)
    for path in (tmp_path / "links.tar", tmp_path / "links.zip", songs):
        assert [song.path.read_bytes() for song in find(path, tmp_path).songs] == [b"real"]
        for left in (tmp_path / "work").iterdir():
            left.unlink()


@pytest.mark.parametrize("make", [folder, zipped, tarred])
def test_too_much_is_told_before_it_is_taken_out(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path, {"a.wav": bytes(2**20 + 1), "b.wav": bytes(1000)})
    monkeypatch.setattr(sources, "MAX_BYTES", 2**20 + 500)
    with pytest.raises(TrainingError, match=r"The songs have more than .* GB together: choose some"):
        find(path, tmp_path)
    monkeypatch.setenv("MUSICGEN_MAX_INPUT_MB", "1")
    with pytest.raises(TrainingError, match=r"a\.wav has 1 MiB; a song may have 1 \(MUSICGEN_MAX_INPUT_MB\)"):
        find(path, tmp_path)
    assert not list((tmp_path / "work").iterdir())


@pytest.mark.parametrize(
    ("name", "content"), [("a.zip", b"PK\x03\x04 cut off"), ("a.tar.gz", b"\x1f\x8b\x08 cut off"), ("a.txt", b"words")]
)
def test_what_is_neither_archive_nor_song_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"damaged or encrypted archive|There is no song"):
        find(path, tmp_path)


def test_damage_inside_an_archive_is_told(tmp_path: Path) -> None:
    path = zipped(tmp_path, {"a.wav": os.urandom(5000)})
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="damaged or encrypted archive"):
        find(path, tmp_path)


@pytest.mark.parametrize("kind", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("at", [0.3, 0.6])
def test_damage_of_what_a_tar_is_packed_with_is_told(kind: str, at: float, tmp_path: Path) -> None:
    path = tmp_path / "songs.tar"
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for number in range(4):
            info = tarfile.TarInfo(f"{number}.wav")
            info.size = 2**16
            # Of few values, so that it is packed, and not stored.
            archive.addfile(info, io.BytesIO(bytes(random.Random(number).choices(range(9), k=info.size))))
    content = bytearray(path.read_bytes())
    first = int(at * len(content))
    content[first : first + 4000] = bytes(4000)  # bz2's only block: it is not even known for a tar then
    path.write_bytes(content)
    with pytest.raises(TrainingError, match="damaged or encrypted archive"):
        find(path, tmp_path)


def test_a_file_that_cannot_be_read_or_written_is_no_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(sources, "_copy", full)
    with pytest.raises(OSError, match="No space left"):
        find(zipped(tmp_path, {"a.wav": b"first"}), tmp_path)


def test_nothing_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="There is no folder or file"):
        find(tmp_path / "nowhere", tmp_path)
    with pytest.raises(TrainingError, match=r"There is no song: files named \.aac"):
        find(folder(tmp_path, {"a.txt": b"words"}), tmp_path)
