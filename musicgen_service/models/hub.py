"""The Hugging Face hub: listing a repository's files, and downloading one file with resume and verification."""

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

UNFINISHED_SUFFIX = ".unfinished"
"""Suffix of a file's name until it is complete."""
_MAX_ATTEMPTS = 6
"""Maximum number of consecutive connections that break without receiving any data."""
_PAUSE = 1.0
"""Seconds before reconnecting."""
_FILE_SYSTEM_ERRORS = {
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO),
    *(errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.EMFILE, errno.ENFILE),
}
"""Error numbers of the file system; the other `OSError`s are those of connections."""


class HubError(RuntimeError):
    """The hub could not be reached, lacks a file, or sent content that does not match its checksum."""


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository, at one revision."""

    repository: str
    revision: str
    path: str
    size: int
    """In bytes."""
    algorithm: str
    """`sha256` for large files, `git` for small ones (the SHA-1 of a git blob)."""
    digest: str


def list_files(repository: str, patterns: tuple[str, ...]) -> list[RemoteFile]:
    """List the files of a repository that match these patterns (see `catalogue.Component.files`).

    Raises
    ------
    HubError
        When the hub cannot be reached, or a pattern matches nothing.
    """
    # Imported here: the hub client takes a second to import, and only fetching needs it.
    from huggingface_hub import HfApi

    with _online(repository):
        info = HfApi().model_info(repository, files_metadata=True)
    files = {}
    for sibling in info.siblings or []:
        algorithm, digest = ("sha256", sibling.lfs.sha256) if sibling.lfs else ("git", sibling.blob_id or "")
        path = sibling.rfilename
        files[path] = RemoteFile(repository, info.sha or "main", path, sibling.size or 0, algorithm, digest)
    selected = []
    for pattern in patterns:
        matches = first_match(pattern, list(files))
        if matches is None:
            raise HubError(f"{repository} has no file {pattern.replace('|', ' or ')}")
        selected += [files[path] for path in matches]
    return selected


def download(file: RemoteFile, target: Path) -> None:
    """Download a file to `target`, where it appears only when its checksum matches.

    Data received by an interrupted call is kept next to `target`, and the next call requests only the remainder. The
    hub client's own `hf_hub_download` and `snapshot_download` discard such a file.

    Raises
    ------
    HubError
        When the connection fails permanently, or the content does not match its checksum; such content is removed.
    OSError
        When the file cannot be written.
    """
    if target.is_file() and _is_content(file, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f"{target.name}.{file.digest}{UNFINISHED_SUFFIX}")
    with _online(file.repository), unfinished.open("ab") as out:
        _receive(file, out)
    if unfinished.stat().st_size < file.size:
        raise HubError(f"{file.path} of {file.repository} did not arrive whole")
    if not _is_content(file, unfinished):
        unfinished.unlink()
        raise HubError(f"{file.path} of {file.repository} arrived damaged and was discarded")
    unfinished.replace(target)


def _receive(file: RemoteFile, out: BinaryIO) -> None:
    """Append the remainder of a file, reconnecting for as long as connections make progress."""
    from huggingface_hub.utils import httpx, tqdm

    attempts = _MAX_ATTEMPTS
    size: dict[str, Any] = {"total": file.size, "initial": out.tell(), "unit": "B", "unit_scale": True}
    with tqdm(desc=file.path, disable=None, **size) as bar:  # type: ignore[no-untyped-call]
        while (start := out.tell()) < file.size:
            try:
                _receive_once(file, out, bar.update)
                return
            except (httpx.NetworkError, httpx.TimeoutException, httpx.RemoteProtocolError):
                attempts = _MAX_ATTEMPTS if out.tell() > start else attempts - 1
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
            # The server ignored the range and sends the complete file.
            out.truncate(0)
            on_bytes(-start)
        for chunk in reply.iter_bytes():
            out.write(chunk)
            on_bytes(len(chunk))


def _is_content(file: RemoteFile, path: Path) -> bool:
    if path.stat().st_size != file.size:
        return False
    if file.algorithm == "sha256":
        return sha256(path) == file.digest
    # git identifies a blob by the SHA-1 of this header and its content; the hub does the same for small files.
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() == file.digest


@contextmanager
def _online(repository: str) -> Iterator[None]:
    """Let the hub client go online, and turn all of its errors into `HubError`.

    A fetch is an explicit request, so it ignores `HF_HUB_OFFLINE`, which keeps the server from looking for files on
    the hub. The client reads that variable once, when it is imported.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import httpx

    offline, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, False
    try:
        yield
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        if isinstance(error, OSError) and error.errno in _FILE_SYSTEM_ERRORS:
            raise
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise HubError(f"{repository} could not be fetched ({reason})") from error
    finally:
        constants.HF_HUB_OFFLINE = offline
