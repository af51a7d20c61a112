"""The songs to train on: the files of folders and of zip or tar archives, with the texts beside them.

Members of an archive are read and written under names of our own, so that no path in an archive is ever followed.
"""

import stat
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from musicgen_service import settings
from musicgen_service.models import archives
from musicgen_service.training.errors import TrainingError

AUDIO = frozenset("aac aif aifc aiff flac m4a mka mkv mov mp2 mp3 mp4 mpga oga ogg opus wav wave webm wma".split())
"""Endings of the names of files that are taken for songs; what they hold is found out when they are read."""
TEXTS = ("txt", "json")
ARCHIVES = frozenset(".zip .tar .gz .tgz .bz2 .tbz .tbz2 .xz .txz".split())
"""Endings of archives, so that one that is damaged at its start is not taken for a file that is no song."""
MAX_BYTES = 10 * 10**9
"""Bytes that all songs may have together, as files: more are a mistake more often than a wish."""
MAX_FILES = 10_000
_MAX_TEXT_BYTES = 65_536
_BLOCK = 2**20
_MAX_PADDING = 64 * _BLOCK
"""Bytes of zeros after the end of a tar that are read."""


@dataclass(frozen=True)
class SongFile:
    """A song, before it is read.

    Attributes
    ----------
    name : relative to the folder, or inside the archive
    path : where it can be read
    text : the content of a .txt or .json beside it; None without one
    text_kind : `txt` or `json`
    """

    name: str
    path: Path
    text: str | None = None
    text_kind: str = "txt"


@dataclass(frozen=True)
class Source:
    """What was found.

    Attributes
    ----------
    songs : in the order of their names
    others : names of the files that are neither songs nor their texts
    """

    songs: list[SongFile]
    others: list[str]


class _Member(NamedTuple):
    """A file of a folder or archive; its name is as it is given there."""

    name: str
    size: int
    copy: "_Copy"


class _Copy(NamedTuple):
    """Where its content is: a file, or a member of an archive."""

    archive: zipfile.ZipFile | tarfile.TarFile | None
    item: Path | zipfile.ZipInfo | tarfile.TarInfo

    def open(self) -> IO[bytes]:
        if isinstance(self.archive, zipfile.ZipFile):
            assert isinstance(self.item, zipfile.ZipInfo)
            return self.archive.open(self.item)
        if self.archive is not None:
            assert isinstance(self.item, tarfile.TarInfo)
            content = self.archive.extractfile(self.item)
            assert content is not None, "only regular files are members"
            return content
        assert isinstance(self.item, Path)
        return self.item.open("rb")


def find(paths: Sequence[Path], work: Path) -> Source:
    """Find the songs of folders, of .zip and .tar (.gz, .bz2, .xz) archives, and single songs with their texts.

    Parameters
    ----------
    work : an existing folder for what is taken out of archives

    Raises
    ------
    TrainingError
        When there is no song, an archive is damaged, two files have one name, or there is too much.
    OSError
        When a file cannot be read, or the disk is full.
    """
    with ExitStack() as opened:
        members = chain.from_iterable(_members(path, opened) for path in paths)
        try:
            return _collect(members, work)
        except Exception as error:
            if not archives.is_damage(error):
                raise
            names = ", ".join(path.name for path in paths)
            raise TrainingError(f"There is a damaged or encrypted archive in {names}: give whole ones.") from error


def _members(path: Path, opened: ExitStack) -> Iterator[_Member]:
    """Yield the files of a folder or archive, or the file alone; an archive is opened in `opened`."""
    if path.is_dir():
        yield from _folder_members(path)
    elif not path.is_file():
        raise TrainingError(f"There is no folder or file {path}: give a folder, zip or tar of songs.")
    elif zipfile.is_zipfile(path):
        yield from _zip_members(opened.enter_context(zipfile.ZipFile(path)))
    elif tarfile.is_tarfile(path):
        yield from _tar_members(opened.enter_context(tarfile.TarFile.open(path)))
    elif path.suffix.lower() in ARCHIVES:
        raise tarfile.ReadError("damaged at its start")
    else:
        yield _Member(path.name, path.stat().st_size, _Copy(None, path))


def _folder_members(folder: Path) -> Iterator[_Member]:
    for path in sorted(folder.rglob("*")):
        # A link may lead anywhere.
        if path.is_file() and not path.is_symlink():
            yield _Member(str(path.relative_to(folder)), path.stat().st_size, _Copy(None, path))


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for item in archive.infolist():
        mode = item.external_attr >> 16
        if not item.is_dir() and (not mode or stat.S_IFMT(mode) in (0, stat.S_IFREG)):
            yield _Member(item.filename, item.file_size, _Copy(archive, item))


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for item in archive:
        if item.isreg():
            yield _Member(item.name, item.size, _Copy(archive, item))
    # At a damaged header tarfile ends as it does at the end. Reading on also has checksums of the whole compared.
    assert archive.fileobj is not None
    for _ in range(_MAX_PADDING // _BLOCK):
        block = archive.fileobj.read(_BLOCK)
        if not block:
            return
        if block.strip(b"\0"):
            raise tarfile.ReadError("there is more after its end")


def _collect(members: Iterable[_Member], work: Path) -> Source:
    """Sort members into songs, their texts and others; takes out of an archive what is needed."""
    songs: dict[str, _Member] = {}
    texts: dict[str, _Member] = {}
    others: list[str] = []
    total = 0
    for count, member in enumerate(members, 1):
        if count > MAX_FILES:
            raise TrainingError(f"There are more than {MAX_FILES:,} files: give songs alone.")
        path = _path(member.name)
        name, ending = str(path), path.suffix[1:].lower()
        if any(_is_hidden(part) for part in path.parts):
            continue
        member = member._replace(name=name)
        text = str(path.with_suffix(path.suffix.lower()))
        if name in songs or text in texts:
            raise TrainingError(f"Two of the files are called {name}: rename one of them.")
        if ending in AUDIO:
            total += _checked_size(member)
            if total > MAX_BYTES:
                raise TrainingError(
                    f"The songs have more than {MAX_BYTES / 1e9:.0f} GB together: choose some; ten are enough."
                )
            songs[name] = member
        elif ending in TEXTS:
            texts[text] = member
        else:
            others.append(name)
    found = [_song(name, songs[name], texts, work, number) for number, name in enumerate(sorted(songs))]
    others += [member.name for member in texts.values()]
    if not found:
        raise TrainingError("There is no song: files named " + ", ".join(f".{name}" for name in sorted(AUDIO)) + ".")
    return Source(found, sorted(others))


def _path(name: str) -> PurePosixPath:
    """The path of a member in one way of writing it: tar writes `./a.wav`; bytes that are no UTF-8 become `\\xff`."""
    return PurePosixPath(name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _is_hidden(part: str) -> bool:
    """Whether a part of a path says that a system keeps something for itself there."""
    return part == "__MACOSX" or (part.startswith(".") and part not in (".", ".."))


def _checked_size(member: _Member) -> int:
    limit = settings.load().max_input_mb
    if member.size > limit * 2**20:
        raise TrainingError(
            f"{member.name} has {member.size / 2**20:,.0f} MiB; a song may have {limit:g} (MUSICGEN_MAX_INPUT_MB)."
        )
    return member.size


def _song(name: str, member: _Member, texts: dict[str, _Member], work: Path, number: int) -> SongFile:
    """Make a song of a member; its text is taken out of `texts`, whose endings are in lower case."""
    path = PurePosixPath(name)
    text, kind = None, TEXTS[0]
    for ending in TEXTS:
        # Beside `song.mp3`: `song.mp3.txt`, which can be added to what has a `song.txt`, or `song.txt`.
        for beside in (f"{path}.{ending}", str(path.with_suffix(f".{ending}"))):
            if text is None and beside in texts:
                text, kind = _read_text(texts.pop(beside)), ending
    if isinstance(member.copy.item, Path):
        return SongFile(name, member.copy.item, text, kind)
    target = work / f"{number:05}{path.suffix.lower()}"
    with member.copy.open() as source, target.open("xb") as file:
        _copy(source, file, member)
    return SongFile(name, target, text, kind)


def _copy(source: IO[bytes], target: IO[bytes], member: _Member) -> None:
    """Copy a member, at most as many bytes as the archive says that it has."""
    left = member.size
    while left and (block := source.read(min(_BLOCK, left))):
        target.write(block)
        left -= len(block)
    if left or source.read(1):
        raise TrainingError(f"{member.name} has another size than its archive says: give a whole archive.")


def _read_text(member: _Member) -> str:
    with member.copy.open() as file:
        content = file.read(_MAX_TEXT_BYTES + 1)
    if len(content) > _MAX_TEXT_BYTES:
        raise TrainingError(f"{member.name} is longer than {_MAX_TEXT_BYTES // 1024} KiB: shorten the description.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise TrainingError(f"{member.name} is no text in UTF-8: save it as UTF-8.") from None
