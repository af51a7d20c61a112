"""Reads the body of a request: received within limits of size and time, and parsed once.

What a body may cost is checked before anything is built from it: the values that a JSON parser builds may take a
hundred times the memory of their text.
"""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from typing import Any

from starlette.requests import ClientDisconnect, Request

from musicgen_service.serving import json_text
from musicgen_service.serving.refusals import Refusal

MAX_BODY = 100 * 2**20
"""Maximum bytes of a request's body; Cog's own limit."""
BODY_SECONDS = 300.0
"""Maximum time for a body to arrive."""
MAX_HELD = 6 * MAX_BODY
"""Maximum bytes of all requests that arrive, wait or run."""
_MAX_SEPARATORS = 100_000
"""Maximum number of each character that separates values. A prompt has 4,000 characters at most."""
_MAX_TEXT = 65_536
"""Maximum bytes of a string that is not ASCII: one such character makes Python store four bytes for each."""


class Memory:
    """Counts the bytes of requests that are held, up to a maximum.

    Parameters
    ----------
    maximum : in bytes
    """

    def __init__(self, maximum: int = MAX_HELD) -> None:
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

    @contextmanager
    def receiving(self) -> Iterator["_Received"]:
        """Count what a body takes for the length of the block."""
        received = _Received(self)
        try:
            yield received
        finally:
            self.release(received.size)


class _Received:
    """The parts of a body.

    Parameters
    ----------
    memory : where they count as held
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        """Add a part.

        Raises
        ------
        Refusal
            When the body is too large, or too much is held.
        """
        if self.size + len(part) > MAX_BODY:
            raise _too_large()
        self._memory.take(len(part))
        self.size += len(part)
        self._parts.append(part)

    def join(self) -> bytes:
        """The body; its parts are given up."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def read(request: Request, memory: Memory) -> Any:
    """Receive and parse a JSON body.

    Parameters
    ----------
    request : a request with a body
    memory : counts the body while it is being received and parsed

    Returns
    -------
    The value; an empty object for a request without a body

    Raises
    ------
    Refusal
        When it is too large, too slow, or not JSON.
    """
    headers = request.headers
    if "content-length" in headers and "transfer-encoding" in headers:
        raise Refusal(400, "A request may have either Content-Length or Transfer-Encoding.")
    length = headers.get("content-length", "0")
    if len(length) > 15 or int(length) > MAX_BODY:
        raise _too_large()
    with memory.receiving() as received:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    received.add(part)
        except TimeoutError:
            raise Refusal(408, f"A request's body must arrive within {BODY_SECONDS:g} s.") from None
        except ClientDisconnect:
            raise Refusal(400, "The request's body ended early.") from None
        if not received.size:
            return {}
        _check_type(request)
        return parse(received.join())


def parse(body: bytes) -> Any:
    """Parse a JSON body; takes at most four times its memory.

    Raises
    ------
    Refusal
        When it is not JSON, or has more values than a request needs.
    """
    if any(body.count(character) > _MAX_SEPARATORS for character in (b",", b":", b"[", b"{", b'"')):
        raise Refusal(413, f"A request may have {_MAX_SEPARATORS:,} values at most.")
    if len(body) > _MAX_TEXT and not body.isascii() and any(not text.isascii() for text in _long_texts(body)):
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
    # A web page of another origin, which may send a body of no type without asking, names its origin.
    kind["Content-Type"] = request.headers.get("content-type") or (
        "" if "origin" in request.headers else "application/json"
    )
    if kind.get_content_type() != "application/json":
        raise Refusal(415, "A request needs the header Content-Type: application/json.")
    charset = kind.get_param("charset", "utf-8")
    if str(charset).lower() not in ("utf-8", "utf8", "us-ascii"):
        raise Refusal(415, "A body must be in UTF-8.")


def _long_texts(body: bytes) -> Iterator[bytes]:
    """Yield what is longer than `_MAX_TEXT` between two quotation marks."""
    start = 0
    while (end := body.find(b'"', start)) >= 0:
        if end - start > _MAX_TEXT:
            yield body[start:end]
        start = end + 1
    yield body[start:]


def _is_finite(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _too_large() -> Refusal:
    return Refusal(413, f"A request may have {MAX_BODY >> 20} MiB at most.")
