"""Reads the body of a request: received within limits of size and time, and parsed once.

What a body may cost is checked before anything is built from it: the values that a JSON parser builds may take a
hundred times the memory of their text.
"""

import asyncio
import math
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

from starlette.requests import ClientDisconnect, Request

from musicgen_service.serving import clients, json_text
from musicgen_service.serving.refusals import Refusal

_ALWAYS_HELD = 64 * 2**10
"""Bytes that a client may hold whatever others hold: enough for a request without a file."""
_MAX_SEPARATORS = 100_000
"""Maximum number of each character that separates values. A prompt has 4,000 characters at most."""
_MAX_TEXT = 65_536
"""Maximum bytes of a string that is not ASCII: one such character makes Python store four bytes for each."""
_WIDE_ESCAPE = re.compile(rb"\\u(?!00)")
"""Stands for such a character. Some clients escape ASCII as well."""


@dataclass(frozen=True)
class Limits:
    """Limits on bodies.

    Attributes
    ----------
    size : maximum bytes of one; 100 MiB is Cog's own limit
    seconds : maximum time for one to arrive
    """

    size: int = 100 * 2**20
    seconds: float = 300.0


class Memory:
    """Counts the bytes that are held, up to a maximum.

    Parameters
    ----------
    maximum : in bytes
    """

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.held = 0

    def take(self, count: int) -> None:
        """Count bytes as held.

        Raises
        ------
        Refusal
            When there would be too many.
        """
        if self.held + count > self._maximum:
            raise Refusal(503, "The service holds too many large requests: try again in a moment.")
        self.held += count

    def release(self, count: int) -> None:
        """Count bytes as no longer held."""
        self.held -= count


class BodyMemory:
    """Counts the bytes of requests that arrive, wait or run, up to six of the largest, half of them of one client.

    Reports and replies with files in them count as well, until they are received: a client that takes none of them gets
    no more.

    Parameters
    ----------
    limits : on bodies
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._held = Counter[str]()

    @property
    def held(self) -> int:
        """Bytes of all requests, reports and replies."""
        return self._held.total()

    def take(self, client: str, count: int) -> None:
        """Count bytes as held by a client.

        Raises
        ------
        Refusal
            When there would be too many.
        """
        own, maximum = self._held[client] + count, 6 * self.limits.size
        if own > _ALWAYS_HELD:
            if own > maximum // 2:
                raise Refusal(429, "You have too many large requests open: wait for one to end.", retry_after=5)
            if self.held + count > maximum:
                raise Refusal(503, "The service holds too many large requests: try again in a moment.")
        self._held[client] = own

    def hold(self, client: str, count: int) -> None:
        """Count bytes that are held already, be they too many or not."""
        self._held[client] += count

    def release(self, client: str, count: int) -> None:
        """Count bytes as no longer held."""
        self._held[client] -= count
        if not self._held[client]:
            del self._held[client]

    @contextmanager
    def receiving(self, client: str) -> Iterator["_Received"]:
        """Count what a body takes for the length of the block."""
        received = _Received(self, client)
        try:
            yield received
        finally:
            self.release(client, received.size)


class _Received:
    """The parts of a body.

    Parameters
    ----------
    memory : where they count as held
    client : who sends them
    """

    def __init__(self, memory: BodyMemory, client: str) -> None:
        self._memory = memory
        self._client = client
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        """Add a part.

        Raises
        ------
        Refusal
            When the body is too large, or too much is held.
        """
        if self.size + len(part) > self._memory.limits.size:
            raise _too_large(self._memory.limits)
        self._memory.take(self._client, len(part))
        self.size += len(part)
        self._parts.append(part)

    def join(self) -> bytes:
        """The body; its parts are given up."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


@asynccontextmanager
async def reading(request: Request, memory: BodyMemory) -> AsyncIterator[Any]:
    """Receive and parse a JSON body; yields its value, an empty object for a request without a body.

    Parameters
    ----------
    request : a request with a body
    memory : counts the body until the block ends

    Raises
    ------
    Refusal
        When it is too large, too slow, or not JSON.
    """
    limits = memory.limits
    length = request.headers.get("content-length", "0")
    if len(length) > 15 or int(length) > limits.size:
        raise _too_large(limits)
    with memory.receiving(clients.owner(request)) as received:
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    received.add(part)
        except TimeoutError:
            raise Refusal(408, f"A request's body must arrive within {limits.seconds:g} s.") from None
        except ClientDisconnect:
            raise Refusal(400, "The request's body ended early.") from None
        if received.size:
            _check_type(request)
        yield parse(received.join()) if received.size else {}


def parse(body: bytes) -> Any:
    """Parse a JSON body; takes at most four times its memory.

    Raises
    ------
    Refusal
        When it is not JSON, or has more values than a request needs.
    """
    if any(body.count(character) > _MAX_SEPARATORS for character in (b",", b":", b"[", b"{", b'"')):
        raise Refusal(413, f"A request may have {_MAX_SEPARATORS:,} values at most.")
    if len(body) > _MAX_TEXT and _may_be_wide(body) and any(map(_is_wide, _long_texts(body))):
        raise Refusal(413, f"A text may have {_MAX_TEXT:,} bytes at most.")
    try:
        value = json_text.decode(body)
    except ValueError as error:
        raise Refusal(400, f"The body is not valid JSON: {str(error)[:200]}.") from None
    if not _is_finite(value):
        raise Refusal(400, "The body is not valid JSON: a number is out of range.")
    return value


def _check_type(request: Request) -> None:
    """Check that the body is plain JSON; one of no type counts as JSON."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "A compressed body is not accepted.")
    kind = Message()
    kind["Content-Type"] = request.headers.get("content-type") or "application/json"
    if kind.get_content_type() != "application/json":
        raise Refusal(415, "A request needs the header Content-Type: application/json.")
    charset = kind.get_param("charset", "utf-8")
    if str(charset).lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refusal(415, "A body must be in UTF-8.")


def _long_texts(body: bytes) -> Iterator[bytes]:
    """Yield what is longer than `_MAX_TEXT` between two quotation marks that are not escaped."""
    start = position = 0
    while (end := body.find(b'"', position)) >= 0:
        part = body[position:end]
        position = end + 1
        if (len(part) - len(part.rstrip(b"\\"))) % 2:
            continue
        if end - start > _MAX_TEXT:
            yield body[start:end]
        start = position
    yield body[start:]


def _may_be_wide(text: bytes) -> bool:
    return not text.isascii() or b"\\u" in text


def _is_wide(text: bytes) -> bool:
    """Whether a JSON text has a character for which Python stores more than one byte for each."""
    return not text.isascii() or _WIDE_ESCAPE.search(text) is not None


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"A request may have {limits.size / 2**20:g} MiB at most.")
