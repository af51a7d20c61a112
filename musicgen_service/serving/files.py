"""Files of finished predictions, on disk, under addresses that nobody can guess."""

import asyncio
import base64
import re
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.types import Message, Receive, Scope, Send

from musicgen_service.inputs import served_files
from musicgen_service.serving.refusals import Refusal

_TYPES = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/mpeg": "mp3",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/ogg": "ogg",
    "audio/midi": "mid",
    "audio/mid": "mid",  # as Cog has it
    "application/zip": "zip",
    "image/png": "png",
}
_MEDIA_TYPES = {extension: kind for kind, extension in reversed(_TYPES.items())}
_DATA_URI = re.compile(r"data:([\w.+/-]+);base64,", re.ASCII)


@dataclass(frozen=True)
class Saved:
    """What was saved of a prediction's output.

    Attributes
    ----------
    output : the output with an address, relative to the service's, in the place of each data URI
    token : in the address of each file
    size : of all files, in bytes
    """

    output: Any
    token: str
    size: int


class Files:
    """A folder with a sub-folder for each prediction and each upload.

    Parameters
    ----------
    folder : exists
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self) -> tuple[str, Path]:
        """Make a sub-folder; returns its token and path.

        Raises
        ------
        OSError
            When it cannot be made.
        """
        token = secrets.token_hex(16)
        folder = self.folder / token
        folder.mkdir()
        return token, folder

    def save(self, output: Any, names: Sequence[str] = ()) -> Saved:
        """Write the files of an output.

        Parameters
        ----------
        output : a data URI, or a list or object of them
        names : of the predictor for these files, in their order; one that does not fit is replaced

        Raises
        ------
        OSError
            When they cannot be written; none is left then.
        """
        token, folder = self.new()
        size = 0
        names = list(names) if len(names) == _count(output) else []

        def write(value: Any, label: str) -> Any:
            nonlocal size
            if (kind := _kind(value)) is None:
                return value
            content = base64.b64decode(memoryview(value.encode("ascii"))[value.index(",") + 1 :])
            size += len(content)
            extension = f".{_TYPES.get(kind, 'bin')}"
            name = names.pop(0) if names else ""
            if not served_files.NAME.fullmatch(name) or not name.endswith(extension) or (folder / name).exists():
                name = label + extension
            (folder / name).write_bytes(content)
            return f"{served_files.PREFIX}{token}/{name}"

        try:
            if isinstance(output, list):
                saved: Any = [write(value, f"output-{number:02d}") for number, value in enumerate(output, 1)]
            elif isinstance(output, dict):
                saved = {name: write(value, re.sub(r"\W", "-", name, flags=re.ASCII)) for name, value in output.items()}
            else:
                saved = write(output, "output")
        except BaseException:
            self.remove(token)
            raise
        return Saved(saved, token, size)

    def find(self, token: str, name: str) -> Path | None:
        """The file at an address."""
        return served_files.find(self.folder, token, name)

    def in_place(self, output: Any) -> Any:
        """An output with a data URI in the place of each address of a file, as long as the file is kept."""
        if isinstance(output, list):
            return [self.in_place(value) for value in output]
        if isinstance(output, dict):
            return {name: self.in_place(value) for name, value in output.items()}
        is_address = isinstance(output, str) and output.startswith(served_files.PREFIX)
        file = self.at(output) if is_address else None
        return output if file is None else data_uri(file)

    def at(self, address: str) -> Path | None:
        """The file at an address relative to the service's."""
        token, _, name = address.removeprefix(served_files.PREFIX).partition("/")
        return self.find(token, name)

    def at_url(self, url: str) -> Path | None:
        """The file at an http(s) address of the service."""
        found = served_files.split(url)
        return self.find(*found) if found else None

    def remove(self, token: str) -> None:
        """Remove the files of a prediction, or an upload."""
        shutil.rmtree(self.folder / token, ignore_errors=True)

    def written_before(self, moment: float) -> list[str]:
        """The tokens of files written before a moment, in seconds since the epoch."""
        found = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # removed meanwhile
                if served_files.TOKEN.fullmatch(path.name) and path.stat().st_mtime < moment:
                    found.append(path.name)
        return found


def data_uri(file: Path) -> str:
    """A file as a data URI."""
    return f"data:{media_type(file)};base64,{base64.b64encode(file.read_bytes()).decode()}"


def extension(kind: str) -> str:
    """The extension of files of a media type."""
    return _TYPES.get(kind.partition(";")[0].strip().lower(), "bin")


def media_type(file: Path) -> str:
    """The media type of a file."""
    return _MEDIA_TYPES.get(file.suffix.removeprefix("."), "application/octet-stream")


class _FileAnswer(FileResponse):
    """A file, or the part of it that is asked for, or that the client has it already.

    A temporary one is removed, however its sending ends.
    """

    is_temporary = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it.

        Raises
        ------
        Refusal
            When it has been removed meanwhile.
        """
        try:
            self.stat_result = await asyncio.to_thread(Path(self.path).stat)
            self.set_stat_headers(self.stat_result)
            if _has_it(Headers(scope=scope), self.headers["etag"]):
                names = ("etag", "last-modified", "cache-control")
                unchanged = Response(status_code=304, headers={name: self.headers[name] for name in names})
                await unchanged(scope, receive, send)
                return
            await self._send(scope, receive, send)
        except FileNotFoundError:
            raise missing() from None
        finally:
            if self.is_temporary:
                shutil.rmtree(Path(self.path).parent, ignore_errors=True)

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it, or why the part that is asked for cannot be sent."""
        refused: Message | None = None

        async def send_or_refuse(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_or_refuse)
        if refused is not None:
            sentence = f"Range must be bytes=FIRST-LAST, within the file's {self.headers['content-length']} bytes."
            answer = Refusal(refused["status"], sentence).response()
            if "content-range" in (headers := Headers(raw=refused["headers"])):
                answer.headers["Content-Range"] = headers["content-range"]
            await answer(scope, receive, send)


def _has_it(headers: Headers, etag: str) -> bool:
    """Whether a client has the version of a file that has this tag."""
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return etag in known or "*" in known


def missing() -> Refusal:
    """The refusal where a file is asked for that is not kept."""
    return Refusal(404, "There is no such file, or it was made too long ago.")


def response(file: Path, *, is_temporary: bool = False) -> FileResponse:
    """The answer with a file, or with the part of it that is asked for.

    Parameters
    ----------
    file : what is sent
    is_temporary : whether it is removed, with its folder, when it has been sent
    """
    answer = _FileAnswer(
        file,
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "private"},
        media_type=media_type(file),
        filename=file.name,
        content_disposition_type="inline",
    )
    answer.is_temporary = is_temporary
    return answer


def _kind(value: Any) -> str | None:
    """The media type of a data URI; None for any other value."""
    found = _DATA_URI.match(value) if isinstance(value, str) else None
    return found and found[1]


def _count(output: Any) -> int:
    """Number of data URIs in an output."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list) else [output]
    return sum(_kind(value) is not None for value in values)


def absolute(output: Any, base_url: str) -> Any:
    """An output whose addresses are relative to the service's, with absolute ones."""
    if isinstance(output, list):
        return [absolute(value, base_url) for value in output]
    if isinstance(output, dict):
        return {name: absolute(value, base_url) for name, value in output.items()}
    return base_url + output if isinstance(output, str) and output.startswith(served_files.PREFIX) else output
