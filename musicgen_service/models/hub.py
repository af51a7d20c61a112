"""The Hugging Face hub: what a repository holds, and how one file of it gets here whole."""

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from musicgen_service.models.catalogue import first_match

_OF_FILES = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
}
"""Errors of the file system, unlike those of a connection, which are `OSError`s, too."""


class HubError(RuntimeError):
    """The hub could not be reached, lacks a file, or sent something else than it promised."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository, at one revision."""

    repository: str
    revision: str
    path: str
    size: int
    """In bytes."""
    algorithm: str
    """`sha256` for large files, `git` for small ones (the SHA-1 that git gives a blob)."""
    digest: str


def find(repository: str, patterns: tuple[str, ...]) -> list[RemoteFile]:
    """Files of a repository that match these patterns (see `catalogue.Component.files`).

    Raises
    ------
    HubError
        When the hub cannot be reached, or a pattern matches nothing.
    """
    # Imported here: the hub client takes a second to import and only fetching needs it.
    from huggingface_hub import HfApi

    with _fetching(repository):
        info = HfApi().model_info(repository, files_metadata=True)
    files = {}
    for sibling in info.siblings or []:
        algorithm, digest = ("sha256", sibling.lfs.sha256) if sibling.lfs else ("git", sibling.blob_id or "")
        path = sibling.rfilename
        files[path] = RemoteFile(repository, info.sha or "main", path, sibling.size or 0, algorithm, digest)
    chosen = []
    for pattern in patterns:
        matches = first_match(pattern, list(files))
        if matches is None:
            raise HubError(f"{repository} has no file {pattern.replace('|', ' or ')}")
        chosen += [files[path] for path in matches]
    return chosen


def download(file: RemoteFile, target: Path) -> None:
    """Fetch a file to `target`, where it appears only when its checksum agrees.

    What an interrupted call has received stays beside `target`, and the next call asks for the rest
    alone. (The hub client's own `hf_hub_download` starts such a file anew.)

    Raises
    ------
    HubError
        When the connection fails for good, or the content is not what the hub promised; damaged
        content is removed.
    OSError
        When the file cannot be written.
    """
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils._headers import build_hf_headers

    if target.is_file() and _is_content(file, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{file.digest}.unfinished")
    with _fetching(file.repository), unfinished.open("ab") as out:
        http_get(
            hf_hub_url(file.repository, file.path, revision=file.revision),
            out,
            resume_size=out.tell(),
            # A compressed reply could not be resumed.
            headers=build_hf_headers() | {"Accept-Encoding": "identity"},
            expected_size=file.size,
            displayed_filename=file.path,
        )
    if not _is_content(file, unfinished):
        unfinished.unlink()
        raise HubError(f"{file.path} of {file.repository} arrived damaged and was discarded")
    unfinished.replace(target)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_content(file: RemoteFile, path: Path) -> bool:
    if path.stat().st_size != file.size:
        return False
    if file.algorithm == "sha256":
        return sha256(path) == file.digest
    # git names a blob by the SHA-1 of this header and its content; the hub does the same for small files.
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.digest


@contextmanager
def _fetching(repository: str) -> Iterator[None]:
    """The hub client at work: online, and every way in which it fails as one.

    A fetch is asked for by name, so `HF_HUB_OFFLINE`, which keeps what serves from looking for files on the hub, does
    not hold for it. The client reads that variable once, when it is imported.
    """
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OF_FILES:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HubError(f"{repository} could not be fetched ({reason})") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
