"""Slow, idle and many connections."""

import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import httpx
import pytest

from musicgen_service.serving import connections
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.support.fake_cog import fake_cog
from tests.support.harness import wait_until

UNFINISHED = b"POST /predictions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"


@contextmanager
def limited(**changes: float) -> Iterator[Gateway]:
    """A gateway whose limits on connections are changed."""
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port)
        for name, value in changes.items():
            setattr(gateway.limits, name, value)
        with running(gateway):
            yield gateway


def opened(gateway: Gateway, content: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
    connection = socket.create_connection(gateway.address, timeout=30, source_address=(address, 0))
    connection.sendall(content)
    return connection


def received(connection: socket.socket) -> bytes:
    """Everything that comes until the connection is closed."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"])
def test_the_head_of_a_request_has_a_deadline(sent: bytes) -> None:
    with limited(head_seconds=0.2) as gateway, opened(gateway, sent) as connection:
        *first, last = received(connection).split(b"HTTP/1.1 ")[1:]
        assert last.startswith(b"408 ") and b'"error":"A request must arrive within 0.2 s."' in last
        assert len(first) == sent.count(b"\r\n\r\n")


def test_a_head_that_drips_does_not_get_longer() -> None:
    with limited(head_seconds=0.3) as gateway, opened(gateway) as connection:
        start = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - start < 5:
                connection.sendall(b"X")
                time.sleep(0.02)


def test_a_running_prediction_has_no_deadline_of_the_head() -> None:
    with limited(head_seconds=0.8) as gateway, client_of(gateway) as client:
        reply = client.post("/predictions", json={"input": {"prompt": "slow"}})
        assert reply.json()["status"] == "succeeded"
        time.sleep(1)  # the connection stays open for the next request
        assert client.get("/").status_code == 200


def test_connections_of_one_address_are_limited() -> None:
    with limited(per_address=2) as gateway, ExitStack() as stack:
        held = [stack.enter_context(opened(gateway, sent)) for sent in (UNFINISHED, UNFINISHED, b"")]
        reply = received(held[2])
        assert reply.startswith(b"HTTP/1.1 429 ") and b"too many connections" in reply
        with client_of(gateway, "127.0.0.2") as other:
            assert other.get("/").status_code == 200
        held[0].close()
        wait_until(lambda: gateway.limits.open["127.0.0.1"] == 1)
        with client_of(gateway) as client:
            assert client.get("/").status_code == 200


def test_all_connections_are_limited() -> None:
    with limited(total=2) as gateway, ExitStack() as stack:
        held = [stack.enter_context(opened(gateway, sent)) for sent in (UNFINISHED, UNFINISHED, b"")]
        reply = received(held[2])
        assert reply.startswith(b"HTTP/1.1 503 ") and b"retry-after: 5" in reply
    assert not gateway.limits.open


@pytest.mark.parametrize("limit", ["per_address", "total"])
def test_idle_connections_give_way_the_oldest_first(limit: str) -> None:
    with limited(**{limit: 3, "head_seconds": 60}) as gateway, ExitStack() as stack:
        limits, request = gateway.limits, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        busy = stack.enter_context(opened(gateway, UNFINISHED))
        wait_until(lambda: limits.open.total() == 1 and not limits.idle)
        dripping = stack.enter_context(opened(gateway, b"GET /"))
        wait_until(lambda: limits.open.total() == 2)
        idle = stack.enter_context(opened(gateway))
        wait_until(lambda: limits.open.total() == 3)
        with opened(gateway, request) as other:
            assert other.recv(15) == b"HTTP/1.1 200 OK"
        assert b"too many connections" in received(dripping)
        idle.sendall(request)
        assert idle.recv(15) == b"HTTP/1.1 200 OK"
        busy.sendall(b"x" * 1000)
        assert busy.recv(12) == b"HTTP/1.1 400"
    assert not limits.open and not limits.idle


def test_one_address_gets_half_of_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "max_connections", lambda: 100)
    with limited() as gateway:
        assert (gateway.limits.per_address, gateway.limits.total) == (50, 100)


@pytest.mark.parametrize(
    ("soft", "hard", "expected"),
    [(256, 4096, 4096), (1024, resource.RLIM_INFINITY, 20_032), (1024, 10**6, 20_032), (40, 40, 40), (10**6,) * 3],
)
def test_the_limit_on_descriptors_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, expected: int
) -> None:
    set_to = [soft]
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits[0]))
    connections.raise_descriptor_limit()
    assert set_to[-1] == expected


def test_descriptors_limit_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {40: 4, 10: 1, 1024: 496, resource.RLIM_INFINITY: 10_000}
    for descriptors, expected in limits.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, descriptors=descriptors: (descriptors, descriptors))
        assert connections.max_connections() == expected


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    request = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
    with limited(stall_seconds=0.3) as gateway, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(gateway.address)
        wait_until(lambda: bool(gateway.limits.open))
        connection.sendall(request * 2000)
        wait_until(lambda: not gateway.limits.open)


@pytest.mark.parametrize(("size", "seconds", "is_kept"), [(4096, 0.005, True), (1024, 0.1, False)])
def test_a_response_has_a_slowest_pace(size: int, seconds: float, is_kept: bool) -> None:
    """4 KiB in 5 ms are fast enough where 30 KiB in 0.5 s are asked for, 1 KiB in 100 ms is not."""
    with limited(stall_seconds=0.5) as gateway, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(gateway.address)
        wait_until(lambda: bool(gateway.limits.open))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 1500)
        end = time.monotonic() + 3
        with suppress(ConnectionResetError):
            while time.monotonic() < end and gateway.limits.open:
                connection.recv(size)
                time.sleep(seconds)
        assert bool(gateway.limits.open) == is_kept


def test_a_large_response_has_a_faster_pace() -> None:
    with limited(stall_seconds=0.2, stall_bytes=1, reply_seconds=0.3) as gateway, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(gateway.address)
        wait_until(lambda: bool(gateway.limits.open))
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n" * 1500)
        with suppress(ConnectionResetError):
            while gateway.limits.open:
                connection.recv(1024)
                time.sleep(0.005)


@pytest.mark.parametrize(
    ("sent", "more"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", b"no chunk\r\n"),
        (b"Content-Length: 9\r\n\r\n{}", b"{"),
        (b"Content-Length: 999999999999\r\n\r\n{}", b"{"),
    ],
)
def test_a_body_that_goes_on_after_its_reply_gets_no_second_one(sent: bytes, more: bytes) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: a\r\n"
    with limited(head_seconds=0.3) as gateway, opened(gateway, head + sent) as connection:
        assert connection.recv(65_536).startswith(b"HTTP/1.1 404 ")
        connection.sendall(more)
        assert b"HTTP/" not in received(connection)


def test_a_body_that_breaks_off_is_told() -> None:
    sent = b"POST /predictions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nno chunk\r\n"
    with limited() as gateway, opened(gateway, sent) as connection:
        reply = received(connection)
        assert reply.startswith(b"HTTP/1.1 400 ") and reply.count(b"HTTP/1.1 ") == 1


def test_what_is_no_http_is_refused_in_json() -> None:
    with limited() as gateway, opened(gateway, b"\x16\x03\x01 hello\r\n\r\n") as connection:
        reply = received(connection)
        assert (
            reply.startswith(b"HTTP/1.1 400 ")
            and b'{"error":"The request is not valid HTTP.","status":"failed"}' in reply
        )


def test_slow_clients_do_not_slow_others() -> None:
    # The client has another address, as the slow ones of its own would have its connection closed.
    with limited() as gateway, ExitStack() as stack, client_of(gateway, "127.0.0.2") as client:
        alone = statistics.median(health_seconds(client) for _ in range(20))
        for _ in range(2000):
            stack.enter_context(opened(gateway))
        head = b"POST /predictions HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
        dripping = [stack.enter_context(opened(gateway, head + b"\r\n" * (number % 2))) for number in range(200)]
        seconds = []
        for _ in range(20):
            for connection in dripping:
                with suppress(OSError):  # it made room for another one, or was too slow
                    connection.sendall(b"X")
            seconds.append(health_seconds(client))
        # 100 ms, or what a busy machine takes anyway.
        assert statistics.median(seconds) < max(0.1, 10 * alone), (alone, seconds)


def health_seconds(client: httpx.Client) -> float:
    start = time.monotonic()
    assert client.get("/health-check").json()["status"] == "READY"
    return time.monotonic() - start


def test_many_clients_are_served_at_once() -> None:
    with limited() as gateway, ExitStack() as stack:
        request = (
            b'POST /predictions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 12\r\n\r\n{"input":{}}'
        )
        held = [stack.enter_context(opened(gateway, request)) for _ in range(64)]
        assert [received(connection)[:15] for connection in held] == [b"HTTP/1.1 200 OK"] * 64


def test_a_stopped_gateway_has_no_connections_left() -> None:
    with limited() as gateway:
        connection = opened(gateway)
        address = gateway.address
    assert connection.recv(1) == b""
    connection.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{address[1]}/")
