"""Reverse proxy for Cog's server: validates requests, rejects unsafe ones, and answers while Cog cannot.

Cog's server uses a prediction's id as a file name, stops for anybody who posts to `/shutdown`, and posts webhooks
to any address. It has no settings for any of this, so requests are checked here and then forwarded unchanged, with
two exceptions: an input that is null, which Cog refuses even where it is optional, is removed, and an unknown input,
which Cog ignores, is refused.
"""

import http.client
import json
import re
import resource
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from musicgen_service.inputs import addresses
from musicgen_service.serving import misspellings

MAX_BODY = 150 * 2**20
"""Maximum bytes of a request body; Cog's own limit is lower."""
MAX_CLIENTS = 64
READ_TIMEOUT = 30.0
"""Maximum seconds between two parts of a request."""

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_ROUTES = {
    "GET": re.compile(r"/|/health-check|/openapi\.json"),
    "POST": re.compile(r"/predictions|/predictions/(?P<id>[^/]*)/cancel"),
    "PUT": re.compile(r"/predictions/(?P<id>[^/]*)"),
}
_REQUEST_HEADERS = ("Content-Type", "Prefer", "Accept", "traceparent", "tracestate")
_RESPONSE_HEADERS = ("Content-Type", "Content-Length", "traceparent", "tracestate")
_CHUNK_BYTES = 65_536
_OWN_DESCRIPTORS = 32
"""File descriptors reserved for everything else that the process opens."""
_FAILED = b'"error":"Prediction failed: '
_FAILED_TWICE = b'"error":"Prediction failed: Async prediction failed: '
"""Cog's worker and its server both add a prefix to an error."""


class Refusal(Exception):
    """A request is not forwarded; carries the HTTP status, a sentence, and the locations of invalid inputs."""

    def __init__(self, status: int, sentence: str, detail: list[dict[str, Any]] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.detail = {"detail": detail} if detail else {}


class Proxy(ThreadingHTTPServer):
    """Forwards requests to Cog's server.

    Parameters
    ----------
    address : host and port to listen at
    upstream_port : returns the port of Cog's server on this machine, or None while it is not reachable
    unavailable_reason : returns a sentence saying why no prediction can be made now, or None
    """

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        upstream_port: Callable[[], int | None],
        unavailable_reason: Callable[[], str | None] = lambda: None,
    ) -> None:
        super().__init__(address, _Handler)
        self.upstream_port = upstream_port
        self.unavailable_reason = unavailable_reason
        self.failure: dict[str, Any] | None = None
        """What `/health-check` answers while Cog's server cannot be started; `reason` is a sentence."""
        self.inputs: misspellings.Inputs = {}
        """The predictor's inputs; while empty, unknown inputs are not refused."""
        self.draining = False
        self.ended = threading.Event()
        """Set when running predictions are to be cancelled."""
        self.running: deque[str] = deque(maxlen=100)
        """Ids of the latest asynchronous predictions; only Cog knows whether they have ended."""
        self._client_slots = threading.BoundedSemaphore(min(MAX_CLIENTS, _max_clients()))
        self._waiting = 0
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a client in a new thread, unless there are too many clients already."""
        if self._client_slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a client."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._client_slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: a client that disconnects is normal."""

    def count(self, change: int) -> None:
        """Change the number of clients waiting for a prediction."""
        with self._lock:
            self._waiting += change

    @property
    def waiting(self) -> int:
        """Number of clients waiting for the response to a prediction."""
        return self._waiting


def _max_clients() -> int:
    """Number of clients that the limit on file descriptors allows: two each, one of them to Cog's server."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return MAX_CLIENTS
    return max(1, (limit - _OWN_DESCRIPTORS) // 2)


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "musicgen-service", ""
    timeout = READ_TIMEOUT
    _response_started = False

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        try:
            body = self._validate(self._body())
            if self._is_prediction() and self.server.draining:
                raise Refusal(503, "The service is shutting down.")
            port = self.server.upstream_port()
            failure = self.server.failure
            if failure and self.path == "/health-check" and not self.server.draining:
                self._respond(200, failure)
            elif failure and self._is_prediction():
                raise Refusal(503, f"The service could not be started and will be tried again: {failure['reason']}")
            elif port is None and self.path == "/health-check":
                self._respond(200, {"status": "STARTING"})
            elif port is None:
                raise Refusal(503, "The service is starting: try again in a moment.")
            elif self.server.draining and self.path == "/health-check":
                self._respond(200, {"status": "DRAINING"})
            else:
                self._forward(port, body)
        except Refusal as refusal:
            self._respond(refusal.status, {"error": str(refusal), "status": "failed", **refusal.detail})

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length")
        if self.command == "GET" or (length is None and "Transfer-Encoding" not in self.headers):
            return b""
        if length is None or not length.isdecimal():
            self.close_connection = True
            raise Refusal(411, "A request needs a Content-Length.")
        if int(length) > MAX_BODY:
            self.close_connection = True
            raise Refusal(413, f"A request may have {MAX_BODY >> 20} MiB at most.")
        return self.rfile.read(int(length))

    def _validate(self, body: bytes) -> bytes:
        """Check the request; returns the body to forward."""
        route = _ROUTES[self.command].fullmatch(self.path)
        if route is None:
            raise Refusal(404, "There is nothing here: post predictions to /predictions.")
        in_path = route.groupdict().get("id")
        if in_path is not None:
            _check_id(unquote(in_path))
        try:
            request = json.loads(body) if body else {}
        except (ValueError, RecursionError):
            return body  # Cog reports what is wrong with it
        if isinstance(request, dict):
            if isinstance(request.get("id"), str):
                _check_id(request["id"])
            if request.get("webhook") is not None:
                _check_webhook(request["webhook"])
            if self.server.inputs and (problems := misspellings.find(request, self.server.inputs)):
                raise Refusal(422, " ".join(problem["msg"] for problem in problems), problems)
            if "Content-Type" not in self.headers and body and "Origin" not in self.headers:
                # Cog's server would read it as a request without inputs. A web page of another origin, which may send
                # a body of no type without asking, names its origin.
                self.headers["Content-Type"] = "application/json"
            if isinstance(request.get("input"), dict) and None in request["input"].values():
                return _without_nulls(request)
        return body

    def _is_prediction(self) -> bool:
        return self.command != "GET" and not self.path.endswith("/cancel")

    def _forward(self, port: int, body: bytes) -> None:
        predicts = self._is_prediction()
        if predicts and (reason := self.server.unavailable_reason()):
            raise Refusal(503, reason)
        upstream = http.client.HTTPConnection("127.0.0.1", port)
        self.server.count(predicts)
        try:
            headers = {name: self.headers[name] for name in _REQUEST_HEADERS if name in self.headers}
            self._response_started = False
            upstream.request(self.command, self.path, body, headers)
            if self._await_response(upstream.sock):
                self._relay_response(upstream.getresponse(), predicts)
        except (OSError, http.client.HTTPException):
            if self._response_started:
                return  # part of the response has been sent
            raise Refusal(502, "The service broke down in this request: try again in a moment.") from None
        finally:
            upstream.close()
            self.server.count(-predicts)

    def _await_response(self, upstream: socket.socket) -> bool:
        """Wait for the response; false when the client disconnects first, which cancels its prediction."""
        watched = [upstream, self.connection]
        while not self.server.ended.is_set():
            ready, _, _ = select.select(watched, [], [], 0.2)
            if upstream in ready:
                return True
            if self.connection in ready:
                if not self.connection.recv(1, socket.MSG_PEEK):
                    self.close_connection = True
                    return False
                watched = [upstream]  # it has sent its next request already
        raise Refusal(503, "The service is shutting down and gave this prediction up.")

    def _relay_response(self, response: http.client.HTTPResponse, predicts: bool) -> None:
        accepted = predicts and response.status == 202
        chunk = response.read(None if accepted else _CHUNK_BYTES)
        if predicts and response.isclosed() and "Content-Length" in response.headers:
            chunk = chunk.replace(_FAILED_TWICE, _FAILED)
            response.headers.replace_header("Content-Length", str(len(chunk)))
        if accepted:
            self.server.running.append(str(json.loads(chunk)["id"]))
        self.close_connection = self.close_connection or response.headers["Content-Length"] is None
        self._response_started = True
        self.send_response(response.status)
        for name in _RESPONSE_HEADERS:
            if name in response.headers:
                self.send_header(name, response.headers[name])
        self.end_headers()
        keep_open, self.close_connection = self.close_connection, True
        while chunk:
            self.wfile.write(chunk)
            chunk = response.read(_CHUNK_BYTES)
        self.close_connection = keep_open

    def _respond(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: Cog's server logs requests."""


def _without_nulls(request: dict[str, Any]) -> bytes:
    values = {name: value for name, value in request["input"].items() if value is not None}
    return json.dumps(request | {"input": values}).encode()


def _check_id(prediction_id: str) -> None:
    if not _ID.fullmatch(prediction_id):
        raise Refusal(422, "id must be up to 128 letters, digits, '.', '_' and '-', the first a letter or digit.")


def _check_webhook(url: Any) -> None:
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError
        addresses.resolve(parts.hostname, parts.port or (443 if parts.scheme == "https" else 80))
    except addresses.AddressError as error:
        raise Refusal(422, f"webhook cannot be used: {error}") from None
    except ValueError:
        raise Refusal(422, "webhook must be an http(s) URL.") from None
