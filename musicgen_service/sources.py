"""Files that a client names: fetched from http(s) addresses and data URIs, and from no place behind our own doors.

Cog would fetch them before the service sees the request, from any address and in any amount; `runner` makes it
hand the addresses through. Names are resolved once and the connection goes to the very address that was
checked, so a name that changes its answer in between gains nothing; a redirect is checked as its own address.
"""

import base64
import binascii
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import SplitResult, unquote, unquote_to_bytes, urljoin, urlsplit

import certifi
import urllib3

from musicgen_service import addresses, settings
from musicgen_service.request import Field, RequestError

DEADLINE = 60.0
"""Seconds that a whole transfer may take, redirects included."""
MAX_REDIRECTS = 5

_SILENCE = 10.0
"""Seconds without one byte after which a server is given up."""
_PIECE = 65_536
_GLANCE = 0.05
"""Seconds between two looks whether the request was cancelled."""
_UNSAFE = re.compile(r"[^\w.-]+")
_SCHEMES = ("http", "https", "data")


class SourceError(ValueError):
    """The file cannot be had from there; the message says why in one sentence."""


def is_address(value: Any) -> bool:
    """Whether this is text that names a place to fetch from."""
    return isinstance(value, str) and _scheme(value) in _SCHEMES


@contextmanager
def local(inputs: Mapping[str, Any], fields: Mapping[str, Field]) -> Iterator[dict[str, Any]]:
    """The inputs with a local file in the place of every address, for the time of the block.

    Raises
    ------
    RequestError
        When one of them cannot be had; nothing is left of it, nor when the request is cancelled meanwhile.
    """
    # It removes its folder even where a cancel strikes before the block begins.
    with tempfile.TemporaryDirectory(prefix="musicgen-input-", ignore_cleanup_errors=True) as folder:
        found = dict(inputs)
        for name, value in inputs.items():
            if name in fields and fields[name].kind is Path and is_address(value):
                try:
                    found[name] = fetch(value, Path(folder))
                except SourceError as error:
                    raise RequestError([f"{name} could not be fetched: {error}"]) from None
        yield found


def fetch(address: str, folder: Path) -> Path:
    """Fetch an http(s) address or a data URI into `folder`.

    The work is done in a thread of its own, because a name server or a slow peer cannot be interrupted and a
    cancelled request must be over at once. That thread makes no file: one that is given up could make it when the
    folder has been cleared already.
    """
    unfinished = folder / ".unfinished"
    try:
        with unfinished.open("xb") as file:
            name = _fetched_within_time(address, file)
        return unfinished.rename(folder / name)
    finally:
        unfinished.unlink(missing_ok=True)


def _fetched_within_time(address: str, file: BinaryIO) -> str:
    outcome: list[str | Exception] = []
    given_up = threading.Event()

    def work() -> None:
        try:
            outcome.append(_fetch(address, file, given_up.is_set))
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="fetch", daemon=True)
    end = time.monotonic() + DEADLINE
    try:
        thread.start()
        while thread.is_alive() and time.monotonic() < end:
            thread.join(_GLANCE)
    finally:
        given_up.set()
    if not outcome:
        raise SourceError(f"it took more than {DEADLINE:.0f} s.")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _scheme(address: str) -> str:
    return address[:10].partition(":")[0].lower()


def _fetch(address: str, file: BinaryIO, given_up: Callable[[], bool]) -> str:
    """Fill the file; returns what to call it."""
    if _scheme(address) == "data":
        _decode(address, file)
        return "audio"
    for _ in range(MAX_REDIRECTS + 1):
        parts = _checked(address)
        with _get(parts) as response:
            location = response.headers.get("Location")
            if response.status in (301, 302, 303, 307, 308) and location:
                address = urljoin(address, location)
                continue
            if response.status != 200:
                raise SourceError(f"the server answered with status {response.status}.")
            _store(response, file, given_up)
            return _file_name(parts)
    raise SourceError(f"it was redirected more than {MAX_REDIRECTS} times.")


def _checked(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise SourceError("the address is malformed.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise SourceError("only http and https addresses with a host name are followed.")
    if parts.username is not None or parts.password is not None:
        raise SourceError("the address must not hold a user name or a password.")
    if not address.isprintable() or " " in address:
        raise SourceError("the address is malformed.")
    return parts


@contextmanager
def _get(parts: SplitResult) -> Iterator[urllib3.BaseHTTPResponse]:
    assert parts.hostname
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    try:
        pinned = addresses.resolve(parts.hostname, port)
    except addresses.AddressError as error:
        raise SourceError(str(error)) from None
    options: dict[str, Any] = {"timeout": urllib3.Timeout(connect=_SILENCE, read=_SILENCE)}
    if secure:
        tls: dict[str, Any] = {
            "ssl_context": tls_context(),
            "server_hostname": parts.hostname,
            "assert_hostname": parts.hostname,
        }
        pool: urllib3.HTTPConnectionPool = urllib3.HTTPSConnectionPool(pinned, port, **options, **tls)
    else:
        pool = urllib3.HTTPConnectionPool(pinned, port, **options)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"Host": parts.netloc, "Accept-Encoding": "identity", "User-Agent": "musicgen-service"}
    with pool:
        try:
            response = pool.urlopen(
                "GET",
                target,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise SourceError(f"the server could not be reached ({type(error).__name__}).") from None
        try:
            yield response
        finally:
            response.close()


def tls_context() -> ssl.SSLContext:
    """Whom to believe: the certificates that Mozilla believes."""
    return ssl.create_default_context(cafile=certifi.where())


def _store(response: urllib3.BaseHTTPResponse, file: BinaryIO, given_up: Callable[[], bool]) -> None:
    limit = _limit()
    size = 0
    while True:
        try:
            piece = response.read1(_PIECE)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise SourceError(f"the transfer broke off ({type(error).__name__}).") from None
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if given_up():
            raise SourceError("nobody waits for it any more.")
        if not piece:
            return
        file.write(piece)


def _decode(address: str, file: BinaryIO) -> None:
    head, comma, body = address.partition(",")
    if not comma:
        raise SourceError("the data URI has no comma before its data.")
    limit = _limit()
    if len(body) > 4 * limit:
        raise _too_large(limit)
    try:
        content = base64.b64decode(unquote(body), validate=True) if head.endswith(";base64") else unquote_to_bytes(body)
    except (binascii.Error, ValueError):
        raise SourceError("the data URI is not valid base64.") from None
    if len(content) > limit:
        raise _too_large(limit)
    file.write(content)


def _limit() -> int:
    return int(settings.load().max_input_mb * 2**20)


def _too_large(limit: int) -> SourceError:
    return SourceError(f"the file is larger than {limit >> 20} MiB.")


def _file_name(parts: SplitResult) -> str:
    """The last part of the path, in letters that are safe in a file name."""
    return _UNSAFE.sub("_", unquote(parts.path.rpartition("/")[2]))[-100:].lstrip(".") or "audio"
