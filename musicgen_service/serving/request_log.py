"""Every request that is answered: counted, traced, and noted in the access log as one line of JSON."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from musicgen_service.serving import json_text
from musicgen_service.serving.metrics import Metrics
from musicgen_service.serving.tracing import Trace

_CONVERTOR = ":text}"
_CLIENT_LEFT = 499
"""Status of a request whose client was gone before there was a reply; nginx's number for it."""
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")


class RequestLog:
    """Middleware around the whole application.

    A handler may put `prediction` (its id) and `key_name` into the request's state, and finds there its `trace`.

    Parameters
    ----------
    application : answers the requests
    metrics : counts them
    write : writes a line; None when there is no access log
    """

    def __init__(self, application: Starlette, metrics: Metrics, write: Callable[[bytes], object] | None) -> None:
        self._application = application
        self._metrics = metrics
        self._write = write
        self._paths = dict(_paths(application.routes))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._application(scope, receive, send)
        exchange = _Exchange(scope, receive, send)
        try:
            await self._application(scope, exchange.receive, exchange.send)
        finally:
            path = self._paths.get(scope["endpoint"]) if "endpoint" in scope else None
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, path or "other", str(exchange.status)).inc()
            if self._write is not None:
                self._write(json_text.encode(exchange.summary(path)))


class _Exchange:
    """A request and its reply.

    Parameters
    ----------
    scope, receive, send : as an ASGI server gives them
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._started = time.monotonic()
        self._trace = scope.setdefault("state", {})["trace"] = Trace.of(Headers(scope=scope))
        self._sent = 0
        self._is_answered = False
        self.status = 500  # of a handler that fails before it answers

    async def receive(self) -> Message:
        """Receive for the application; notes that the client has gone."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._is_answered:
            self.status = _CLIENT_LEFT
            self._is_answered = True
        return message

    async def send(self, message: Message) -> None:
        """Send for the application; adds the trace to the headers."""
        if message["type"] == "http.response.start":
            if not self._is_answered:
                self.status = message["status"]
                self._is_answered = True
            MutableHeaders(scope=message).update(self._trace.headers)
        await self._send(message)
        if self._scope["method"] != "HEAD":
            self._sent += len(message.get("body", b""))

    def summary(self, path: str | None) -> dict[str, Any]:
        """What the access log says of it: neither its inputs nor its query string."""
        state = self._scope["state"]
        return {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "method": self._scope["method"],
            "path": path,
            "status": self.status,
            "seconds": round(time.monotonic() - self._started, 4),
            "bytes": self._sent,
            "client": self._scope["client"][0] if self._scope.get("client") else None,
            "key": state.get("key_name"),
            "prediction": state.get("prediction"),
            "trace_id": self._trace.trace_id,
            "span_id": self._trace.span_id,
        }


def write_line(line: bytes) -> None:
    """Write a line to standard output."""
    # A closed pipe or a full disk must not fail the request.
    with suppress(OSError, ValueError):
        sys.stdout.write(line.decode() + "\n")
        sys.stdout.flush()


def _paths(routes: Sequence[BaseRoute], mounted: str = "") -> Iterator[tuple[ASGIApp, str]]:
    """Yield what the scope of a request has as its endpoint, and its path, for each route and those of a mount."""
    for route in routes:
        if isinstance(route, (Route, Mount)):
            path = mounted + route.path
            yield (route.endpoint if isinstance(route, Route) else route.app), path.replace(_CONVERTOR, "}")
            yield from _paths(getattr(route, "routes", ()), path)
