"""Cancellable HTTP client for addresses that clients give.

A name is resolved once and the connection goes to the IP address that was checked, which prevents DNS rebinding; the
target of a redirect is checked like any other address.
"""

import http.client
import io
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import certifi
import idna

from musicgen_service.inputs import addresses, content_encoding

MAX_REDIRECTS = 5
IDLE_TIMEOUT = 10.0
"""Seconds without a byte after which a transfer is abandoned."""
_CHUNK_SIZE = 65_536
_MAX_LINES = 200_000
"""Maximum lines around a body: interim responses, headers, sizes of chunks. 100 MiB in chunks of 1 KiB have half."""
_LOOKUPS = threading.BoundedSemaphore(64)
"""Name resolutions at a time. One cannot be interrupted, and a name server may take its time."""
_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""Characters of a path or query that are not percent-encoded, besides letters and digits; `%` keeps escapes intact."""
BLANK = "".join(map(chr, range(33))) + "\x7f\x85\xa0\u200b\u2028\u2029\u3000\ufeff"
"""Stripped from both ends of an address: control characters, and the blanks that come with pasted text."""
_ABANDONED = "nobody waits for it any more."
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NO_HOST = re.compile(r"[\s\\<>^`{|}\"]")


class SourceError(ValueError):
    """A file cannot be fetched; the message says why in one sentence."""


class Transfer:
    """The connection of a fetch, which another thread can close at any time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._ended = Future[None]()

    def resolve(self, host: str, port: int) -> str:
        """Resolve a host; see `addresses.resolve`. It ends with the transfer, while the lookup goes on in a thread."""
        if not _LOOKUPS.acquire(blocking=False):
            raise SourceError("too many host names are being looked up: try again in a moment.")
        found = Future[str]()

        def look_up() -> None:
            try:
                found.set_result(addresses.resolve(host, port))
            except Exception as error:
                found.set_exception(error)
            finally:
                _LOOKUPS.release()

        threading.Thread(target=look_up, name="lookup", daemon=True).start()
        either: list[Future[Any]] = [found, self._ended]
        wait(either, return_when=FIRST_COMPLETED)
        if not found.done():
            raise SourceError(_ABANDONED)
        try:
            return found.result()
        except addresses.AddressError as error:
            raise SourceError(str(error)) from None

    def open(self, address: str) -> socket.socket:
        """Create a socket for an IP address and close the previous one."""
        with self._lock:
            if self._ended.done():
                raise SourceError(_ABANDONED)
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            self._close()
            # A duplicate: TLS takes over the socket itself.
            self._handle = connection.dup()
            return connection

    def end(self) -> None:
        """Close the connection; a pending operation on it fails at once."""
        with self._lock:
            if not self._ended.done():
                self._ended.set_result(None)
            self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):  # it is not connected yet, or no longer
                handle.shutdown(socket.SHUT_RDWR)
            handle.close()


@dataclass(frozen=True)
class _Address:
    """A parsed address: the host in ASCII, the path and query percent-encoded for the request line."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str


def fetch(address: str, limit: int, transfer: Transfer, write: Callable[[bytes], object]) -> str:
    """Download an address, following redirects, and pass the body to `write`; returns the path of the final address.

    Raises
    ------
    SourceError
        When it cannot be fetched, or has more than `limit` bytes.
    """
    for _ in range(MAX_REDIRECTS + 1):
        source = _parse(address)
        with _get(source, transfer) as response:
            location = response.getheader("Location", "").strip(BLANK)
            if response.status in (301, 302, 303, 307, 308) and location:
                address = _redirect_target(address, location)
                continue
            if response.status != 200:
                raise SourceError(f"the server answered with status {response.status}.")
            size = 0
            try:
                coding = response.getheader("Content-Encoding", "")
                for chunk in content_encoding.decode(_body(response), coding, limit):
                    size += len(chunk)
                    if size > limit:
                        raise SourceError(content_encoding.too_large(limit))
                    write(chunk)
            except content_encoding.ContentError as error:
                raise SourceError(str(error)) from None
            return source.target.partition("?")[0]
    raise SourceError(f"it was redirected more than {MAX_REDIRECTS} times.")


def tls_context() -> ssl.SSLContext:
    """A TLS context that trusts Mozilla's root certificates."""
    return ssl.create_default_context(cafile=certifi.where())


def _redirect_target(address: str, location: str) -> str:
    """The target of a redirect. Headers are read as Latin-1, but most servers send UTF-8."""
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    try:
        return urljoin(address, location)
    except ValueError:
        raise SourceError("it was redirected to a malformed address.") from None


def _parse(address: str) -> _Address:
    address = address.strip(BLANK)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise SourceError("the address is malformed.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SourceError("only http and https addresses with a host name are followed.")
    if parts.username is not None or parts.password is not None:
        raise SourceError("the address must not hold a user name or a password.")
    # `urlsplit` removes line breaks, so they are searched for in the address itself.
    if _CONTROL.search(address) or _NO_HOST.search(parts.netloc):
        raise SourceError("the address is malformed.")
    host = _encode_host(host)
    secure = parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port is None else f"{shown}:{port}"
    return _Address(secure, host, port or (443 if secure else 80), authority, _target(parts))


def _encode_host(host: str) -> str:
    """Encode a host name for DNS (IDNA)."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise SourceError("its host name is malformed.") from None


def _target(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, _SAFE)}" if parts.query else ""
    return quote(parts.path or "/", _SAFE) + query


class _Reader(io.BufferedReader):
    """Reads a response with a limited number of lines.

    `http.client` takes any number of interim responses and of trailers, and chunks of any size: a server that sends
    them without end would keep a processor busy.
    """

    _lines = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line."""
        self._lines += 1
        if self._lines > _MAX_LINES:
            raise http.client.HTTPException
        return super().readline(size)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = _Reader(self.fp.detach())


class _Connection(http.client.HTTPConnection):
    response_class = _Response


@contextmanager
def _get(address: _Address, transfer: Transfer) -> Iterator[http.client.HTTPResponse]:
    pinned = transfer.resolve(address.host, address.port)
    connection = _Connection(pinned, address.port)
    try:
        connection.sock = transfer.open(pinned)
        connection.sock.settimeout(IDLE_TIMEOUT)
        connection.sock.connect((pinned, address.port))
        if address.secure:
            connection.sock = tls_context().wrap_socket(connection.sock, server_hostname=address.host)
        connection.putrequest("GET", address.target, skip_host=True, skip_accept_encoding=True)
        for name, value in (("Host", address.authority), ("Accept-Encoding", "identity"), ("Connection", "close")):
            connection.putheader(name, value)
        connection.putheader("User-Agent", "musicgen-service")
        connection.endheaders()
        response = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise SourceError(f"the server could not be reached: {_reason(error)}.") from None
    try:
        yield response
    finally:
        response.close()
        connection.close()


def _body(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield the complete body in chunks."""
    try:
        while chunk := response.read1(_CHUNK_SIZE):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"the transfer broke off: {_reason(error)}.") from None
    if response.length:
        raise SourceError(f"the transfer broke off: {response.length} bytes of it did not come.")


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"it was silent for {IDLE_TIMEOUT:.0f} s"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not valid ({error.verify_message.rstrip('.')})"
        case ssl.SSLError():
            return "it makes no secure connection"
        case ConnectionRefusedError():
            return "it refused the connection"
        case http.client.IncompleteRead() | http.client.RemoteDisconnected() | ConnectionError():
            return "it closed the connection"
        case http.client.HTTPException():
            return "its answer is not HTTP"
        case OSError(strerror=str(text)):
            return text[:1].lower() + text[1:]
    return "the connection failed"
