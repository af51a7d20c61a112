"""Files that clients upload, to name them in predictions by their addresses."""

import asyncio
import hashlib
import re
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from musicgen_service.inputs import served_files
from musicgen_service.serving import files, json_text, timestamps
from musicgen_service.serving.clients import AtOnce
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.results import Results
from musicgen_service.training.sources import ARCHIVES

MAX_FILES = 100
"""Maximum number of files that one client may have."""
MAX_BYTES = 2 * 10**9
"""Maximum size of the files of all clients."""
_MAX_ARRIVING = 4
"""Maximum number of files that arrive from one client at the same time."""
_MAX_FORM = 65_536
"""Maximum bytes of all that is in a form besides the file."""
_MAX_METADATA = 4096
_PARTS = 2
"""A file, and metadata, which some clients send as a second one."""
_FIELDS = ("filename", "metadata", "type")
_MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_NO_EXTENSION = re.compile(r"[^a-z0-9]+")
_CHUNK = 2**20
_NO_ROOM = "There is no room for the file: try again later."


class Uploads:
    """Receives files and keeps them for some time, as results are kept.

    Parameters
    ----------
    results : where they are kept
    max_bytes : maximum size of one file
    max_archive_bytes : that of one that is named as a zip or tar, if it is more
    max_bytes_per_client : maximum size of all files of one client
    seconds : maximum time for a file to arrive
    """

    def __init__(
        self, results: Results, max_bytes: int, max_archive_bytes: int, max_bytes_per_client: int, seconds: float
    ) -> None:
        self._store = results.store
        self._files = results.files
        self._keep_seconds = results.keep_seconds
        self._max_bytes = max_bytes
        self._max_archive_bytes = max(max_bytes, max_archive_bytes)
        self._max_bytes_per_client = max_bytes_per_client
        self._seconds = seconds
        sentence = f"You may upload {_MAX_ARRIVING} files at the same time."
        self._at_once = AtOnce(_MAX_ARRIVING, sentence, retry_after=1)
        self._adding = threading.Lock()

    async def receive(self, request: Request, owner: str) -> dict[str, Any]:
        """Receive the file of a form; returns what is known of it.

        Raises
        ------
        Refusal
            When it is no form with a file, too large, too slow or too much.
        """
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise Refusal(415, "A file is uploaded as multipart/form-data, with the file in the field 'content'.")
        if int(request.headers.get("content-length", "0")[:15]) > self._max_archive_bytes + _MAX_FORM:
            raise _too_large(self._max_archive_bytes)
        try:
            with self._at_once.one_more(owner):
                await asyncio.to_thread(self._check_room, owner)
                form = await self._form(request)
                try:
                    return await asyncio.to_thread(self._keep, form, owner)
                finally:
                    await form.close()
        except (OSError, sqlite3.Error):
            raise Refusal(503, _NO_ROOM) from None

    async def owned_by(self, owner: str, token: str | None = None) -> list[dict[str, Any]]:
        """What is known of a client's files, the newest first; with a token, of that one."""
        return await asyncio.to_thread(self._store.uploads_of, owner, token)

    async def remove(self, owner: str, token: str) -> bool:
        """Remove a client's file; returns whether there was one."""
        if not await asyncio.to_thread(self._store.remove_upload, owner, token):
            return False
        await asyncio.to_thread(self._files.remove, token)
        return True

    async def _form(self, request: Request) -> FormData:
        """Receive a form; its files are temporary ones."""
        try:
            async with asyncio.timeout(self._seconds):
                parser = MultiPartParser(
                    request.headers,
                    self._limited(request),
                    max_files=_PARTS,
                    max_fields=_PARTS * 2,
                    max_part_size=_MAX_FORM,
                )
                return await parser.parse()
        except TimeoutError:
            raise Refusal(408, f"A request's body must arrive within {self._seconds:g} s.") from None
        except ClientDisconnect:
            raise Refusal(400, "The request's body ended early.") from None
        except MultiPartException as error:
            raise Refusal(400, f"The form cannot be read: {error.message}") from None

    async def _limited(self, request: Request) -> AsyncGenerator[bytes, None]:
        """The body of a request, up to the maximum."""
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > self._max_archive_bytes + _MAX_FORM:
                raise _too_large(self._max_archive_bytes)
            yield part

    def _keep(self, form: FormData, owner: str) -> dict[str, Any]:
        """Keep the file of a form."""
        file, metadata = _file_of(form), _metadata_of(form)
        name = _text_of(form, "filename") or file.filename or "file"
        kind = _text_of(form, "type") or file.content_type or ""
        limit = self._max_archive_bytes if Path(name).suffix.lower() in ARCHIVES else self._max_bytes
        if (size := file.size or 0) > limit:
            raise _too_large(limit)
        if not size:
            raise Refusal(422, "The file is empty.")
        token, folder = self._files.new()
        try:
            sha256 = _write(file.file, folder / _safe(name, kind))
            now = time.time()
            about = {
                "id": token,
                "name": name[:255],
                "content_type": kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream",
                "size": size,
                "etag": sha256,
                "checksums": {"sha256": sha256},
                "metadata": metadata,
                "created_at": timestamps.text(now),
                "expires_at": timestamps.text(now + self._keep_seconds),
                "urls": {"get": f"{served_files.PREFIX}{token}/{_safe(name, kind)}"},
            }
            with self._adding:
                self._check_room(owner, size)
                self._store.add_upload(token, owner, size, about)
        except BaseException:
            self._files.remove(token)
            raise
        return about

    def _check_room(self, owner: str, size: int = 0) -> None:
        """Check that a client may have a further file."""
        count, used = self._store.size_of_uploads(owner)
        if count >= MAX_FILES or used + size > self._max_bytes_per_client:
            raise Refusal(
                413,
                f"You may have {MAX_FILES} files of {self._max_bytes_per_client >> 20} MiB together: "
                "delete some, or wait until they expire.",
            )
        if self._store.size_of_uploads()[1] + size > MAX_BYTES:
            raise Refusal(503, _NO_ROOM)


def _too_large(limit: int) -> Refusal:
    return Refusal(413, f"A file may have {limit >> 20} MiB at most.")


def _file_of(form: FormData) -> UploadFile:
    """The file in the field `content`, or in any other that has no meaning of its own."""
    found = [value for name, value in form.multi_items() if isinstance(value, UploadFile) and name not in _FIELDS]
    if not found:
        raise Refusal(422, "The form has no file: put it in the field 'content'.")
    if len(found) > 1:
        raise Refusal(422, "The form has more than one file: upload one at a time.")
    return found[0]


def _text_of(form: FormData, name: str) -> str | None:
    """The text in a field; some clients send it as a file."""
    value = form.get(name)
    if isinstance(value, UploadFile):
        value = value.file.read(_MAX_METADATA + 1).decode(errors="replace")
    return value


def _metadata_of(form: FormData) -> Any:
    text = _text_of(form, "metadata")
    if text and len(text) > _MAX_METADATA:
        raise Refusal(413, f"metadata may have {_MAX_METADATA:,} characters at most.")
    try:
        return json_text.decode(text.encode()) if text else {}
    except ValueError:
        raise Refusal(422, "metadata must be JSON.") from None


def _safe(name: str, kind: str) -> str:
    """A name for the file on disk and in its address."""
    name = name.replace("\\", "/").rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    plain = _UNSAFE.sub("-", stem if dot else name)[:80].strip("-") or "file"
    extension = _NO_EXTENSION.sub("", extension.lower())[:8] if dot and stem else ""
    return f"{plain}.{extension or files.extension(kind)}"


def _write(source: IO[bytes], target: Path) -> str:
    """Copy a file; returns its SHA-256."""
    digest = hashlib.sha256()
    with target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()
