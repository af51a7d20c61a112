"""Requests whose end two parsers may see at different places: each gets one reply, or none."""

import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.harness import TIMEOUT, Server

HOST = b"Host: localhost\r\n"
NEXT = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
"""A request, or a part of the one before it."""
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
QUIET_SECONDS = 0.5
"""Time without a further reply after which there is none."""


def post(headers: bytes, body: bytes, path: bytes = b"/predictions", version: bytes = b"1.1") -> bytes:
    return b"POST %s HTTP/%s\r\n%s%s\r\n%s" % (path, version, HOST, headers, body)


def get(headers: bytes, rest: bytes = b"", path: bytes = b"/livez", version: bytes = b"1.1") -> bytes:
    return b"GET %s HTTP/%s\r\n%s%s\r\n%s" % (path, version, HOST, headers, rest)


BOTH = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"
EMPTY = b"[]"
"""A body that is refused with 422."""

REFUSED: dict[str, bytes] = {
    "both lengths": post(BOTH, LAST + NEXT),
    "both lengths of a route without a body": get(BOTH, LAST + NEXT),
    "both lengths where there is no route": post(BOTH, LAST + NEXT, b"/nothing"),
    "both lengths, the other order": post(b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", LAST + NEXT),
    "both lengths, folded": post(b"Transfer-Encoding:\r\n chunked\r\nContent-Length: 5\r\n", LAST + NEXT),
    "both lengths, line feed alone": post(b"X: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", LAST + NEXT),
    "two lengths": post(b"Content-Length: 2\r\nContent-Length: %d\r\n" % len(NEXT), EMPTY + NEXT),
    "two lengths in one": post(b"Content-Length: 2, 40\r\n", EMPTY + NEXT),
    "a signed length": post(b"Content-Length: +2\r\n", EMPTY + NEXT),
    "a negative length": post(b"Content-Length: -2\r\n", EMPTY + NEXT),
    "a hexadecimal length": post(b"Content-Length: 0x2\r\n", EMPTY + NEXT),
    "a length with a separator": post(b"Content-Length: 1_0\r\n", EMPTY + NEXT),
    "no length": post(b"Content-Length:\r\n", EMPTY + NEXT),
    "a length of other digits": post("Content-Length: ٢\r\n".encode(), EMPTY + NEXT),
    "a length of thousands of digits": post(b"Content-Length: " + b"9" * 5000 + b"\r\n", EMPTY),
    "chunked by HTTP 1.0": post(CHUNKED, LAST + NEXT, version=b"1.0"),
    "chunked twice": post(b"Transfer-Encoding: chunked, chunked\r\n", LAST + NEXT),
    "chunked in two headers": post(CHUNKED * 2, LAST + NEXT),
    "compressed and chunked": post(b"Transfer-Encoding: gzip, chunked\r\n", LAST + NEXT),
    "not chunked": post(b"Transfer-Encoding: identity\r\n", EMPTY + NEXT),
    "nearly chunked": post(b"Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n", EMPTY + NEXT),
    "chunked in quotes": post(b'Transfer-Encoding: "chunked"\r\n', LAST + NEXT),
    "chunked after a vertical tab": post(b"Transfer-Encoding:\x0bchunked\r\nContent-Length: 2\r\n", EMPTY),
    "a space before the colon": post(b"Transfer-Encoding : chunked\r\nContent-Length: 2\r\n", EMPTY + NEXT),
    "a carriage return alone": post(b"X: a\rTransfer-Encoding: chunked\r\nContent-Length: 2\r\n", EMPTY + NEXT),
    "a null byte": post(b"X: a\0\r\nContent-Length: 2\r\n", EMPTY + NEXT),
    "a chunk that ends with a line feed": post(CHUNKED, b"2\n[]\r\n" + LAST + NEXT),
    "a chunk without its end": post(CHUNKED, b"2\r\n[]\n" + LAST + NEXT),
    "a line feed in a chunk's extension": post(CHUNKED, b"2;\nxx\r\n[]\r\n" + LAST + NEXT),
    "a hexadecimal prefix of a chunk": post(CHUNKED, b"0x2\r\n[]\r\n" + LAST + NEXT),
    "a negative chunk": post(CHUNKED, b"-2\r\n[]\r\n" + LAST + NEXT),
    "a chunk that is too short": post(CHUNKED, b"1\r\n[]\r\n" + LAST + NEXT),
    "a chunk of any size": post(CHUNKED, b"f" * 30 + b"\r\n[]\r\n" + LAST + NEXT),
    "two hosts": get(b"Host: other\r\n", NEXT),
    "no host": b"GET /livez HTTP/1.1\r\n\r\n" + NEXT,
    "another version": get(b"", NEXT, version=b"9.9"),
    "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP 0.9": b"GET /livez\r\n\r\n" + NEXT,
    "a space in the address": get(b"", NEXT, path=b"/livez x"),
}
"""Each gets one reply, with status 400, and its connection is closed."""

ANSWERED: dict[str, tuple[bytes, list[int]]] = {
    "a body of a route without one": (get(b"Content-Length: %d\r\n" % len(NEXT), NEXT), [200]),
    "a body after HEAD": (b"HEAD /livez HTTP/1.1\r\n%sContent-Length: %d\r\n\r\n%s" % (HOST, len(NEXT), NEXT), [200]),
    "a body where there is no route": (post(b"Content-Length: %d\r\n" % len(NEXT), NEXT, b"/nothing"), [404]),
    "the same length twice": (post(b"Content-Length: 2\r\nContent-Length: 2\r\n", EMPTY + NEXT), [422, 200]),
    "a chunked body": (post(CHUNKED, b"2;a=b\r\n[]\r\n" + LAST + NEXT), [422, 200]),
    "trailers": (post(CHUNKED, b"2\r\n[]\r\n0\r\nContent-Length: 99\r\nHost: b\r\n\r\n" + NEXT), [422, 200]),
    "a request in a request": (post(b"Content-Length: %d\r\n" % (2 + len(NEXT)), EMPTY + NEXT + NEXT), [400, 200]),
    "a name that is no header": (
        post(b"Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", EMPTY + NEXT),
        [422, 200],
    ),
    "requests in a row": (NEXT * 3, [200] * 3),
    "an address of another host": (get(b"", NEXT, path=b"http://other.test/livez"), [404, 200]),
    "a tunnel": (b"CONNECT other.test:80 HTTP/1.1\r\n" + HOST + b"\r\n" + NEXT, [404, 200]),
    "another protocol": (get(b"Connection: Upgrade\r\nUpgrade: h2c\r\n", NEXT), [200, 200]),
    "HTTP 1.0": (get(b"Connection: keep-alive\r\n", NEXT, version=b"1.0"), [200]),
    "a refused origin": (post(b"Origin: http://[\r\nContent-Length: %d\r\n" % len(NEXT), NEXT), [403]),
    "a bracket as a host": (b"GET /predictions HTTP/1.1\r\nHost: [\r\n\r\n" + NEXT, [421, 200]),
}
"""Each gets replies of these statuses."""


@pytest.fixture(scope="module")
def replies(server: Server) -> Iterator[dict[str, tuple[list[int], bool]]]:
    """The statuses of what comes back to each, and whether its connection was closed."""
    sent = REFUSED | {name: content for name, (content, _) in ANSWERED.items()}
    with ExitStack() as stack:
        open_ones = {name: stack.enter_context(_opened(server)) for name in sent}
        for name, connection in open_ones.items():
            connection.sendall(sent[name])
        received = {
            name: _received(connection, len(ANSWERED[name][1]) if name in ANSWERED else None)
            for name, connection in open_ones.items()
        }
        time.sleep(QUIET_SECONDS)
        yield {name: _all(connection, received[name]) for name, connection in open_ones.items()}


def _opened(server: Server) -> socket.socket:
    return socket.create_connection((server.client.base_url.host, server.client.base_url.port or 80), TIMEOUT)


def _received(connection: socket.socket, replies: int | None) -> bytes:
    """What comes until the connection is closed, or there are so many replies."""
    content = b""
    with suppress(ConnectionResetError):
        while (replies is None or len(STATUS.findall(content)) < replies) and (part := connection.recv(65_536)):
            content += part
    return content


def _all(connection: socket.socket, first: bytes) -> tuple[list[int], bool]:
    connection.setblocking(False)
    received, is_closed = [first], False
    try:
        while part := connection.recv(65_536):
            received.append(part)
        is_closed = True
    except BlockingIOError:
        pass
    except ConnectionResetError:
        is_closed = True
    return [int(status) for status in STATUS.findall(b"".join(received))], is_closed


@pytest.mark.parametrize("name", REFUSED)
def test_what_parsers_may_read_differently_is_refused(replies: dict[str, tuple[list[int], bool]], name: str) -> None:
    assert replies[name] == ([400], True)


@pytest.mark.parametrize("name", ANSWERED)
def test_a_request_has_one_reply(replies: dict[str, tuple[list[int], bool]], name: str) -> None:
    assert replies[name][0] == ANSWERED[name][1]


def test_the_service_answers_on(server: Server, replies: dict[str, tuple[list[int], bool]]) -> None:
    assert server.client.get("/readyz").status_code == 200
