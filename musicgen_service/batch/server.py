"""A server of this service, as a batch speaks to it."""

import asyncio
import random
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from musicgen_service.batch.errors import BatchError
from musicgen_service.progress import log
from musicgen_service.serving import json_text

_PATIENCE = 300.0
"""Seconds after which a server that cannot be reached, or is not ready, ends the batch."""
_TIMEOUT = 60.0
"""Seconds for one reply: none of them waits for a clip."""
_LAST_TIMEOUT = 5.0
"""Seconds for the reply to what a server is told at the end."""
_MIN_PAUSE = 0.05


class Server:
    """Sends requests to a server, and waits for it.

    Parameters
    ----------
    url : of the server
    key : API key, or None
    at_once : number of requests at the same time

    Raises
    ------
    BatchError
        When the URL is none.
    """

    def __init__(self, url: str, key: str | None, at_once: int) -> None:
        self.url = url.rstrip("/")
        self._access = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx2.Limits(max_connections=at_once + 1)
        try:
            self._http = httpx2.AsyncClient(base_url=self.url, timeout=_TIMEOUT, limits=limits)
        except httpx2.InvalidURL as error:
            raise BatchError(f"{url} is no address of a server: {_reason(error)}.") from None
        self._is_waiting = False

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def tell(self, method: str, address: str) -> None:
        """Send a request once; what becomes of it does not matter."""
        with suppress(httpx2.TransportError):
            await self._http.request(method, address, headers=self._access, timeout=_LAST_TIMEOUT)

    async def ask(self, method: str, address: str, **options: Any) -> httpx2.Response:
        """Send a request until it is answered with anything but 'later'.

        A server that has too much to do is waited for as long as it says; one that does not answer, or is not ready,
        for `_PATIENCE` seconds.
        """
        # The key is for the server alone, and files may be elsewhere.
        is_own = address.startswith(("/", f"{self.url}/"))
        options["headers"] = options.get("headers", {}) | (self._access if is_own else {})
        pause, since = 1.0, time.monotonic()
        while True:
            try:
                reply = await self._http.request(method, address, **options)
            except httpx2.TransportError as error:
                problem, wait, is_busy = f"cannot be reached: {_reason(error)}", pause, False
            else:
                if reply.status_code not in (429, 502, 503, 504):
                    self._is_waiting = False
                    if is_own:
                        self._check_access(reply)
                    return reply
                problem, wait = f"is not ready: {error_of(reply)}", _retry_after(reply, pause)
                is_busy = reply.status_code == 429
                if is_busy:
                    since = time.monotonic() + wait
            if time.monotonic() - since > _PATIENCE:
                raise BatchError(f"The server {self.url} {problem.rstrip('.')}.")
            if not (self._is_waiting or is_busy):
                self._is_waiting = True
                log(f"waiting for the server {self.url}: it {problem.rstrip('.')}")
            # So that those who were sent away together do not come back together.
            await asyncio.sleep(wait * random.uniform(1.0, 1.1))
            pause = min(2 * pause, 15.0)

    def _check_access(self, reply: httpx2.Response) -> None:
        """Raise BatchError where the server accepts no request of this client."""
        if reply.status_code in (401, 403):
            raise BatchError(f"The server {self.url} refuses access: {error_of(reply)}")


def content_of(reply: httpx2.Response) -> dict[str, Any]:
    """The JSON object of a reply; empty where it has none."""
    try:
        content = json_text.decode(reply.content)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def error_of(reply: httpx2.Response) -> str:
    """The sentence of a server that refuses something."""
    return str(content_of(reply).get("error") or f"it answered with status {reply.status_code}.")


def _retry_after(reply: httpx2.Response, default: float) -> float:
    """Seconds until the server wants to be asked again: its `Retry-After` has a number of them, or a date."""
    text = reply.headers.get("retry-after", "")
    if text.isascii() and text.isdigit():
        return max(float(text), _MIN_PAUSE)
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return default
    return max((date - datetime.now(UTC)).total_seconds(), _MIN_PAUSE) if date.tzinfo else default


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).rstrip(".")
