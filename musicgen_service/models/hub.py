"""The Hugging Face hub: what a repository holds, and how one file of it gets here whole."""

import errno
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

from musicgen_service.models.catalogue import first_match
from musicgen_service.models.manifest import sha256

UNFINISHED = ".unfinished"
"""What the name of a file ends with until it is complete."""
_ATTEMPTS = 6
"""How often in a row a connection may break without having brought anything."""
_PAUSE = 1.0
"""Seconds before a connection is opened again."""
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

    What an interrupted call has received stays beside `target`, and the next call asks for the rest alone. The hub
    client's own `hf_hub_download` and `snapshot_download` throw such a file away.

    Raises
    ------
    HubError
        When the connection fails for good, or the content is not what the hub promised; damaged content is removed.
    OSError
        When the file cannot be written.
    """
    if target.is_file() and _is_content(file, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{file.digest}{UNFINISHED}")
    with _fetching(file.repository), unfinished.open("ab") as out:
        _receive(file, out)
    if unfinished.stat().st_size < file.size:
        raise HubError(f"{file.path} of {file.repository} did not arrive whole")
    if not _is_content(file, unfinished):
        unfinished.unlink()
        raise HubError(f"{file.path} of {file.repository} arrived damaged and was discarded")
    unfinished.replace(target)


def _receive(file: RemoteFile, out: BinaryIO) -> None:
    """Append what is missing of a file, over as many connections as it takes while each brings something."""
    from huggingface_hub.utils import httpx, tqdm

    attempts = _ATTEMPTS
    size: dict[str, Any] = {"total": file.size, "initial": out.tell(), "unit": "B", "unit_scale": True}
    with tqdm(desc=file.path, disable=None, **size) as bar:  # type: ignore[no-untyped-call]
        while (start := out.tell()) < file.size:
            try:
                _receive_once(file, out, bar.update)
                return
            except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError):
                attempts = _ATTEMPTS if out.tell() > start else attempts - 1
                if not attempts:
                    raise
                time.sleep(_PAUSE)


def _receive_once(file: RemoteFile, out: BinaryIO, on_bytes: Callable[[int], object]) -> None:
    from huggingface_hub import constants, hf_hub_url, hf_raise_for_status
    from huggingface_hub.utils import build_hf_headers, http_stream_backoff

    start = out.tell()
    # A compressed reply could not be resumed.
    headers = build_hf_headers() | {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with http_stream_backoff(
        "GET",
        hf_hub_url(file.repository, file.path, revision=file.revision),
        headers=headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        retry_on_exceptions=(),
        retry_on_status_codes=(HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS),
    ) as reply:
        hf_raise_for_status(reply)
        if start and reply.status_code != HTTPStatus.PARTIAL_CONTENT:
            # The server sends the whole file, whatever was asked for.
            out.truncate(0)
            on_bytes(-start)
        for piece in reply.iter_bytes():
            out.write(piece)
            on_bytes(len(piece))


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
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _OF_FILES:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HubError(f"{repository} could not be fetched ({reason})") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
