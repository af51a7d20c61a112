"""Fetches from http(s) addresses: each is checked and connected to as what it was checked as, and can be ended.

Names are resolved once and the connection goes to the very address that was checked, so a name that changes its answer
in between gains nothing; a redirect is checked as its own address.
"""

import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

import certifi
import idna

from musicgen_service.inputs import addresses, content_encoding

MAX_REDIRECTS = 5
SILENCE = 10.0
"""Seconds without one byte after which a server is given up."""
_PIECE = 65_536
_SAFE = "!#$%&'()*+,/:;=?@[]~"
"""What stays as it is in a path or a query, beside letters and digits: it is meant so, escapes included."""
BLANK = "".join(map(chr, range(33))) + "\x7f\x85\xa0\u200b\u2028\u2029\u3000\ufeff"
"""What is taken off both ends of an address: control characters, and the blanks that come with pasted text."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_NO_HOST = re.compile(r"[\s\\<>^`{|}\"]")


class SourceError(ValueError):
    """The file cannot be had from there; the message says why in one sentence."""


class Transfer:
    """The connection of a fetch, which another thread can end at any time, whatever it waits for.

    A name that is being resolved is waited for all the same: nothing can interrupt that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._ended = False

    def open(self, address: str) -> socket.socket:
        """A new socket for an IP address, in the place of the one before."""
        with self._lock:
            if self._ended:
                raise SourceError("nobody waits for it any more.")
            connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            self._close()
            # Of its own: TLS takes the socket itself over.
            self._handle = connection.dup()
            return connection

    def end(self) -> None:
        """Break off: what waits for the peer has an error at once."""
        with self._lock:
            self._ended = True
            self._close()

    def _close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            with suppress(OSError):  # it is not connected yet, or no longer
                handle.shutdown(socket.SHUT_RDWR)
            handle.close()


@dataclass(frozen=True)
class _Address:
    """An address that may be asked: a host in ASCII, and a path and query as they go over the wire."""

    secure: bool
    host: str
    port: int
    authority: str
    target: str


def fetch(address: str, limit: int, transfer: Transfer, write: Callable[[bytes], object]) -> str:
    """Write what an address gives, redirects followed; returns the path it came from.

    Raises
    ------
    SourceError
        When it cannot be had, or has more than `limit` bytes.
    """
    for _ in range(MAX_REDIRECTS + 1):
        checked = _checked(address)
        with _get(checked, transfer) as response:
            location = response.getheader("Location", "").strip(BLANK)
            if response.status in (301, 302, 303, 307, 308) and location:
                address = _redirected(address, location)
                continue
            if response.status != 200:
                raise SourceError(f"the server answered with status {response.status}.")
            size = 0
            try:
                coding = response.getheader("Content-Encoding", "")
                for piece in content_encoding.decoded(_body(response), coding, limit):
                    size += len(piece)
                    if size > limit:
                        raise SourceError(content_encoding.too_large(limit))
                    write(piece)
            except content_encoding.ContentError as error:
                raise SourceError(str(error)) from None
            return checked.target.partition("?")[0]
    raise SourceError(f"it was redirected more than {MAX_REDIRECTS} times.")


def tls_context() -> ssl.SSLContext:
    """Whom to believe: the certificates that Mozilla believes."""
    return ssl.create_default_context(cafile=certifi.where())


def _redirected(address: str, location: str) -> str:
    """Where a redirect leads. Headers arrive as Latin-1, and what is in them is UTF-8 most of the time."""
    with suppress(UnicodeError):
        location = location.encode("latin-1").decode()
    try:
        return urljoin(address, location)
    except ValueError:
        raise SourceError("it was redirected to a malformed address.") from None


def _checked(address: str) -> _Address:
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
    # `urlsplit` takes line breaks out of what it splits: they are looked for in the address itself.
    if _CONTROL.search(address) or _NO_HOST.search(parts.netloc):
        raise SourceError("the address is malformed.")
    host = _in_ascii(host)
    secure = parts.scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port is None else f"{shown}:{port}"
    return _Address(secure, host, port or (443 if secure else 80), authority, _target(parts))


def _in_ascii(host: str) -> str:
    """A host name as the name service knows it."""
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode()
    except (idna.IDNAError, UnicodeError):
        raise SourceError("its host name is malformed.") from None


def _target(parts: SplitResult) -> str:
    query = f"?{quote(parts.query, _SAFE)}" if parts.query else ""
    return quote(parts.path or "/", _SAFE) + query


@contextmanager
def _get(address: _Address, transfer: Transfer) -> Iterator[http.client.HTTPResponse]:
    try:
        pinned = addresses.resolve(address.host, address.port)
    except addresses.AddressError as error:
        raise SourceError(str(error)) from None
    connection = http.client.HTTPConnection(pinned, address.port)
    try:
        connection.sock = transfer.open(pinned)
        connection.sock.settimeout(SILENCE)
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
    """The body in pieces, all of it."""
    try:
        while piece := response.read1(_PIECE):
            yield piece
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"the transfer broke off: {_reason(error)}.") from None
    if response.length:
        raise SourceError(f"the transfer broke off: {response.length} bytes of it did not come.")


def _reason(error: Exception) -> str:
    match error:
        case TimeoutError():
            return f"it was silent for {SILENCE:.0f} s"
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
