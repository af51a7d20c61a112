"""Requests of a batch that a server carries out, over the HTTP interface of this service."""

import asyncio
import base64
import mimetypes
import random
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self

import httpx2

from musicgen_service.batch.client import Reply
from musicgen_service.batch.errors import BatchError, RequestFailed
from musicgen_service.batch.items import Item
from musicgen_service.inputs import data_uri
from musicgen_service.progress import log
from musicgen_service.serving import json_text
from musicgen_service.serving.input_checks import InputChecks
from musicgen_service.serving.refusals import GIVEN_UP

AT_ONCE = 8
"""Number of requests on their way at the same time, unless the user says otherwise."""
_PATIENCE = 300.0
"""Seconds after which a server that cannot be reached, or is not ready, ends the batch."""
_TIMEOUT = 60.0
"""Seconds for one reply: none of them waits for a clip."""
_MIN_POLL, _MAX_POLL = 0.05, 2.0
_POLL_SHARE = 0.05
"""Share of the time that a prediction has taken so far after which it is looked at again."""
_CANCEL_TIMEOUT = 5.0
_MAX_SENT = 3
"""Number of times that a prediction is sent which the server loses or gives up."""
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
        self._url = url.rstrip("/")
        self._access = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx2.Limits(max_connections=self.at_once + 1)
        try:
            self._http = httpx2.AsyncClient(base_url=self._url, timeout=_TIMEOUT, limits=limits)
        except httpx2.InvalidURL as error:
            raise BatchError(f"{url} is no address of a server: {_reason(error)}.") from None
        self._checks: InputChecks | None = None
        self._is_waiting = False

    async def __aenter__(self) -> Self:
        """Ask the server for its schema, against which requests are checked before they are sent."""
        try:
            reply = await self._ask("GET", "/openapi.json")
            self._checks = InputChecks(json_text.decode(reply.content))
        except (ValueError, KeyError, TypeError):
            raise BatchError(f"{self._url} is no server of this service: it publishes no schema of inputs.") from None
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._http.aclose()

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
        return str(_object(await self._ask("GET", "/")).get("version", ""))

    async def adapters(self) -> list[dict[str, Any]] | None:
        """Summaries of the server's adapters; None where it does not tell them."""
        reply = await self._ask("GET", "/models")
        return _object(reply).get("adapters") if reply.status_code == 200 else None

    async def rate(self, items: Sequence[Item]) -> None:
        """See `Client.rate`."""
        return None

    async def _job(self, item: Item) -> dict[str, Any]:
        """A prediction that has ended."""
        path = f"/predictions/{item.name}"
        reply = await self._ask("GET", path)
        earlier = _object(reply) if reply.status_code == 200 else {}
        if earlier.get("status") == "succeeded" and earlier.get("output"):
            return earlier
        # An earlier run that was stopped may have canceled it, and it ends only then.
        is_joined = earlier.get("status") in _UNFINISHED
        try:
            body = json_text.encode({"input": await asyncio.to_thread(_sent_inputs, item.inputs)})
        except OSError as error:
            raise RequestFailed(f"{error.filename} cannot be read: {error.strerror}.") from None
        headers = {"Content-Type": "application/json", "Prefer": "respond-async"}
        try:
            for _ in range(_MAX_SENT):
                accepted = await self._ask("PUT", path, content=body, headers=headers)
                if accepted.status_code not in (200, 201, 202):
                    raise RequestFailed(_error(accepted))
                ended = await self._ended(path)
                if ended is not None and not (is_joined and ended["status"] == "canceled"):
                    return ended
                is_joined = False
        except asyncio.CancelledError:
            with suppress(httpx2.TransportError):
                await self._http.post(f"{path}/cancel", headers=self._access, timeout=_CANCEL_TIMEOUT)
            raise
        raise RequestFailed(f"The server lost the prediction, or gave it up, {_MAX_SENT} times.")

    async def _ended(self, path: str) -> dict[str, Any] | None:
        """Wait until a prediction has ended; None when the server has lost it, or given it up, as by a crash."""
        started = time.monotonic()
        while True:
            reply = await self._ask("GET", path)
            if reply.status_code == 404:
                return None
            job = _object(reply)
            if reply.status_code != 200 or "status" not in job:
                raise RequestFailed(_error(reply))
            if job["status"] not in _UNFINISHED:
                return None if job.get("error") in GIVEN_UP else job
            taken = time.monotonic() - started
            await asyncio.sleep(min(max(_MIN_POLL, _POLL_SHARE * taken), _MAX_POLL))

    async def _ask(self, method: str, address: str, **options: Any) -> httpx2.Response:
        """Send a request until it is answered with anything but 'later'.

        A server that has too much to do is waited for as long as it says; one that does not answer, or is not ready,
        for `_PATIENCE` seconds.
        """
        # The key is for the server alone, and files may be elsewhere.
        is_own = address.startswith(("/", f"{self._url}/"))
        options["headers"] = options.get("headers", {}) | (self._access if is_own else {})
        pause, since = 1.0, time.monotonic()
        while True:
            try:
                reply = await self._http.request(method, address, **options)
            except httpx2.TransportError as error:
                problem, wait = f"cannot be reached: {_reason(error)}", pause
            else:
                if reply.status_code not in (429, 502, 503, 504):
                    self._is_waiting = False
                    if is_own:
                        self._check_access(reply)
                    return reply
                problem, wait = f"is not ready: {_error(reply)}", _retry_after(reply, pause)
                if reply.status_code == 429:
                    since = time.monotonic() + wait
            if time.monotonic() - since > _PATIENCE:
                raise BatchError(f"The server {self._url} {problem.rstrip('.')}.")
            if not self._is_waiting:
                self._is_waiting = True
                log(f"waiting for the server {self._url}: it {problem.rstrip('.')}")
            # So that those who were sent away together do not come back together.
            await asyncio.sleep(wait * random.uniform(1.0, 1.1))
            pause = min(2 * pause, 15.0)

    def _check_access(self, reply: httpx2.Response) -> None:
        """Raise BatchError where the server accepts no request of this client."""
        if reply.status_code in (401, 403):
            raise BatchError(f"The server {self._url} refuses access: {_error(reply)}")

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
        reply = await self._ask("GET", address)
        if reply.status_code != 200:
            raise RequestFailed(f"A file of the reply could not be fetched: {_error(reply)}")
        return reply.content


def _sent_inputs(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in JSON types, with files as data URIs."""
    return {name: _data_uri(value) if isinstance(value, Path) else value for name, value in inputs.items()}


def _data_uri(file: Path) -> str:
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _addresses(output: Any) -> Iterator[str]:
    """The files of an output: one, a list of them, or an object of them."""
    values = output.values() if isinstance(output, dict) else output if isinstance(output, list) else [output]
    yield from (value for value in values if isinstance(value, str))


def _object(reply: httpx2.Response) -> dict[str, Any]:
    try:
        content = json_text.decode(reply.content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _error(reply: httpx2.Response) -> str:
    """The sentence of a server that refuses something."""
    return str(_object(reply).get("error") or f"it answered with status {reply.status_code}.")


def _retry_after(reply: httpx2.Response, default: float) -> float:
    """Seconds until the server wants to be asked again: its `Retry-After` has a number of them, or a date."""
    text = reply.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return max(float(text), _MIN_POLL)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return default
    return max((date - datetime.now(UTC)).total_seconds(), _MIN_POLL) if date.tzinfo else default


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
