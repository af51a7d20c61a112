"""Requests of a batch that a server carries out, over the HTTP interface of this service."""

import asyncio
import base64
import mimetypes
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Self

from musicgen_service.batch.client import Reply
from musicgen_service.batch.errors import BatchError, RequestFailed
from musicgen_service.batch.items import Item
from musicgen_service.batch.server import Server, content_of, error_of
from musicgen_service.inputs import data_uri
from musicgen_service.serving import json_text
from musicgen_service.serving.input_checks import InputChecks
from musicgen_service.serving.refusals import GIVEN_UP

AT_ONCE = 8
"""Number of requests on their way at the same time, unless the user says otherwise."""
_MIN_POLL, _MAX_POLL = 0.05, 2.0
_POLL_SHARE = 0.05
"""Share of the time that a prediction has taken so far after which it is looked at again."""
_MAX_SENT = 3
"""Number of times that a prediction is sent which the server loses or gives up."""
_MAX_INLINE = 8 * 2**20
"""Bytes of a file that goes along in its request. Larger ones are uploaded: a server takes larger files than bodies."""
_MAX_UPLOADING = 4
"""Number of requests at the same time that have uploaded files: a server keeps little for one client."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,150}", re.ASCII)
_UNFINISHED = ("starting", "processing")


class RemoteClient:
    """A `Client` of a server of this service.

    Each prediction has the name of its request as its id: one that the server has made already, or is making since
    before this process was killed, is not made again as long as the server keeps it.

    Parameters
    ----------
    url : of the server
    key : API key, or None
    at_once : number of requests on their way at the same time
    """

    def __init__(self, url: str, key: str | None, at_once: int | None = None) -> None:
        self.at_once = at_once or AT_ONCE
        self._server = Server(url, key, self.at_once)
        self._checks: InputChecks | None = None
        self._uploading = asyncio.Semaphore(_MAX_UPLOADING)

    async def __aenter__(self) -> Self:
        """Ask the server for its schema, against which requests are checked before they are sent."""
        try:
            reply = await self._server.ask("GET", "/openapi.json")
            self._checks = InputChecks(json_text.decode(reply.content))
        except (ValueError, KeyError, TypeError):
            problem = "is no server of this service: it publishes no schema of inputs"
            raise BatchError(f"{self._server.url} {problem}.") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._server.close()

    def problems(self, item: Item) -> list[str]:
        """See `Client.problems`: another version of the service may have other inputs."""
        assert self._checks is not None
        values = {name: "data:," if isinstance(value, Path) else value for name, value in item.inputs.items()}
        return [problem["msg"] for problem in self._checks.problems({"input": values})]

    async def make(self, item: Item, folder: Path) -> Reply:
        """See `Client.make`."""
        job = await self._job(item)
        if job["status"] != "succeeded":
            raise RequestFailed(str(job.get("error") or f"The prediction was {job['status']}."))
        files = [file async for file in self._files(job.get("output"), folder)]
        if not files:  # the server had no room for them
            raise RequestFailed(str(job.get("error") or "The server has no files of the prediction."))
        return Reply(files, dict(job.get("metrics") or {}))

    async def version(self) -> str:
        """The server's version of the service; empty where it does not tell it."""
        return str(content_of(await self._server.ask("GET", "/")).get("version", ""))

    async def adapters(self) -> list[dict[str, Any]] | None:
        """Summaries of the server's adapters; None where it does not tell them."""
        reply = await self._server.ask("GET", "/models")
        return content_of(reply).get("adapters") if reply.status_code == 200 else None

    async def rate(self, items: Sequence[Item]) -> None:
        """See `Client.rate`."""
        return None

    async def _job(self, item: Item) -> dict[str, Any]:
        """A prediction that has ended."""
        path = f"/predictions/{item.name}"
        reply = await self._server.ask("GET", path)
        earlier = content_of(reply) if reply.status_code == 200 else {}
        if earlier.get("status") == "succeeded" and earlier.get("output"):
            return earlier
        # An earlier run that was stopped may have canceled it, and it ends only then.
        is_joined = earlier.get("status") in _UNFINISHED
        async with self._sent_inputs(item.inputs) as inputs:
            return await self._carried_out(path, json_text.encode({"input": inputs}), is_joined)

    async def _carried_out(self, path: str, body: bytes, is_joined: bool) -> dict[str, Any]:
        """Ask for a prediction, and wait until it has ended.

        Parameters
        ----------
        is_joined : whether it is being made already
        """
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        try:
            for _ in range(_MAX_SENT):
                accepted = await self._server.ask("PUT", path, content=body, headers=headers)
                if accepted.status_code not in (200, 201, 202):
                    raise RequestFailed(error_of(accepted))
                ended = await self._ended(path)
                if ended is not None and not (is_joined and ended["status"] == "canceled"):
                    return ended
                is_joined = False
        except asyncio.CancelledError:
            await self._server.tell("POST", f"{path}/cancel")
            raise
        raise RequestFailed(f"The server lost the prediction, or gave it up, {_MAX_SENT} times.")

    @asynccontextmanager
    async def _sent_inputs(self, inputs: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the inputs in JSON types: files as data URIs, large ones as addresses of the server, for the block."""
        async with AsyncExitStack() as uploads:
            try:
                large = {name for name, value in inputs.items() if _is_large(value)}
                if large:
                    await uploads.enter_async_context(self._uploading)
                sent = dict(inputs)
                for name, value in inputs.items():
                    if name in large:
                        sent[name] = await uploads.enter_async_context(self._uploaded(value))
                    elif isinstance(value, Path):
                        sent[name] = await asyncio.to_thread(_data_uri, value)
            except OSError as error:
                raise RequestFailed(f"{error.filename} cannot be read: {error.strerror}.") from None
            yield sent

    @asynccontextmanager
    async def _uploaded(self, file: Path) -> AsyncIterator[str]:
        """Upload a file; yields its address, at which it is for the block."""
        with file.open("rb") as content:
            reply = await self._server.ask("POST", "/files", files={"content": (file.name, content, _media_type(file))})
        if reply.status_code != 201:
            raise RequestFailed(f"{file} could not be uploaded: {error_of(reply)}")
        upload = content_of(reply)
        try:
            yield upload["urls"]["get"]
        finally:
            await self._server.tell("DELETE", f"/files/{upload['id']}")

    async def _ended(self, path: str) -> dict[str, Any] | None:
        """Wait until a prediction has ended; None when the server has lost it, or given it up, as by a crash."""
        started = time.monotonic()
        while True:
            reply = await self._server.ask("GET", path)
            if reply.status_code == 404:
                return None
            job = content_of(reply)
            if reply.status_code != 200 or "status" not in job:
                raise RequestFailed(error_of(reply))
            if job["status"] not in _UNFINISHED:
                return None if job.get("error") in GIVEN_UP else job
            taken = time.monotonic() - started
            await asyncio.sleep(min(max(_MIN_POLL, _POLL_SHARE * taken), _MAX_POLL))

    async def _files(self, output: Any, folder: Path) -> Any:
        """Yield the files of an output, fetched into `folder`."""
        for number, address in enumerate(_addresses(output), 1):
            name = address.partition("?")[0].rpartition("/")[2]
            if address.startswith("data:"):
                content = data_uri.decode(address)
                name = f"output-{number:02d}{mimetypes.guess_extension(address[5:].partition(';')[0]) or '.bin'}"
            elif _SAFE_NAME.fullmatch(name):
                content = await self._content(address)
            else:
                raise RequestFailed("The server's reply has an output that is no address of a file.")
            file = folder / name
            await asyncio.to_thread(file.write_bytes, content)
            yield file

    async def _content(self, address: str) -> bytes:
        reply = await self._server.ask("GET", address)
        if reply.status_code != 200:
            raise RequestFailed(f"A file of the reply could not be fetched: {error_of(reply)}")
        return reply.content


def _is_large(value: Any) -> bool:
    return isinstance(value, Path) and value.stat().st_size > _MAX_INLINE


def _media_type(file: Path) -> str:
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _data_uri(file: Path) -> str:
    return f"data:{_media_type(file)};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _addresses(output: Any) -> Iterator[str]:
    """The files of an output: one, a list of them, or an object of them."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list) else [output]
    yield from (value for value in values if isinstance(value, str))
