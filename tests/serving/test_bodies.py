"""Bodies of requests: what is JSON here, and what reading one may cost."""

import resource
import subprocess
import sys
import threading
import time
from contextlib import suppress

import httpx
import pytest

from musicgen_service.inputs import addresses
from musicgen_service.serving import bodies, outbound
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.refusals import Refusal
from tests.serving.conftest import client_of
from tests.serving.test_routes import raw
from tests.support.fake_cog import FakeCog
from tests.support.harness import in_background, wait_until

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{} x",
        b'{"input":{"prompt":"\xff"}}',
        b'{"input":{},"x":' + b"9" * 5000 + b"}",
        b'{"input":{},"x":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"input":{"prompt":"a","prompt":"b"}}',
        b'{"input":{},"\\u0069nput":{}}',
        b'{"input":{"duration":NaN}}',
        b'{"input":{"duration":1e999}}',
        b'{"input":{"prompt":"\\ud800"}}',
        b'{"input":{"prompt":"a\nb"}}',
        b"\xef\xbb\xbf{}",
        '{"input":{}}'.encode("utf-16"),
        b'{"input":{},"x":[' + b"[]," * 99_999 + b"[]]}",
        b'{"input":{"prompt":"' + b"," * 100_001 + b'"}}',
        ('{"input":{"prompt":"' + "🎷" * 20_000 + '"}}').encode(),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_parsers_may_read_differently_is_refused(client: httpx.Client, cog: FakeCog, body: bytes) -> None:
    reply = client.post("/predictions", content=body, headers=JSON)
    assert reply.status_code in (400, 413) and reply.json()["status"] == "failed"
    assert len(reply.content) < 500 and cog.requests == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
        ({"Content-Type": 'APPLICATION/JSON;charset="UTF-8"'}, 200),
        ({"Content-Type": "application/json; charset=latin-1"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
    ],
)
def test_a_body_is_plain_json(client: httpx.Client, cog: FakeCog, headers: dict[str, str], status: int) -> None:
    reply = client.post("/predictions", content=b'{"input": {}}', headers=headers)
    assert reply.status_code == status and len(cog.requests) == (status == 200)


def test_a_chunked_body_has_a_limit(
    client: httpx.Client, cog: FakeCog, monkeypatch: pytest.MonkeyPatch, gateway: Gateway
) -> None:
    monkeypatch.setattr(gateway._memory, "limits", bodies.Limits(size=2**20))
    reply = client.post("/predictions", content=iter([b" " * 2**16] * 17), headers=JSON)
    assert reply.status_code == 413 and "1 MiB at most" in reply.json()["error"]
    assert cog.requests == [] and gateway._memory.held == 0


def test_a_body_that_drips_is_given_up(client: httpx.Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway._memory, "limits", bodies.Limits(seconds=0.2))
    start = time.monotonic()
    reply = raw(client, b"POST /predictions HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{")
    assert reply.startswith(b"HTTP/1.1 408 ") and time.monotonic() - start < 5


def test_held_memory_is_limited(
    client: httpx.Client, stranger: httpx.Client, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway._memory, "limits", bodies.Limits(size=2**20))
    large, small = ({"input": {"input_audio": "data:," + "a" * size}} for size in (100_000, 100))
    gateway._memory.take("127.0.0.1", 3 * 2**20 - 10)
    reply = client.post("/predictions", json=large)
    assert (reply.status_code, reply.headers["retry-after"]) == (429, "5") and "large requests" in reply.text
    assert stranger.post("/predictions", json=large).status_code == 200
    wait_until(lambda: not gateway.unfinished and gateway._memory.held == 3 * 2**20 - 10)
    gateway._memory.take("127.0.0.3", 3 * 2**20)
    reply = stranger.post("/predictions", json=large)
    assert reply.status_code == 503 and reply.headers["retry-after"]
    assert stranger.post("/predictions", json=small).status_code == 200  # whatever others hold
    gateway._memory.release("127.0.0.1", 3 * 2**20 - 10)
    gateway._memory.release("127.0.0.3", 3 * 2**20)
    wait_until(lambda: gateway._memory.held == 0)


MEASURE = """
import resource, sys
from musicgen_service.serving import bodies
from musicgen_service.serving.refusals import Refusal
size = 20_000_000
body = {
    "file": lambda: b'{"input":{"prompt":"\\xf0\\x9f\\x8e\\xb7","input_audio":"data:,' + b"A" * size + b'"}}',
    "lists": lambda: b"[" + b"[]," * (size // 3) + b"[]]",
    "text": lambda: b'["\\xf0\\x9f\\x8e\\xb7' + b"A" * size + b'"]',
    "escapes": lambda: b'["' + rb"\\u0061" * (size // 6) + b'"]',
    "numbers": lambda: b"[" + b"1," * (size // 2) + b"1]",
    "digits": lambda: b"[" + b"1" * size + b"]",
    "quotes": lambda: b'["' + rb'\\"' * (size // 2) + b'"]',
    "wide escape": lambda: b'["' + b"A" * size + rb'\\ud83c\\udfb7"]',
    "wide parts": lambda: b'["' + (b"A" * 60_000 + rb'\\"') * (size // 60_000) + b'\\xf0\\x9f\\x8e\\xb7"]',
}[sys.argv[1]]()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    value = bodies.parse(body)
except Refusal:
    pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / size)
"""


@pytest.mark.parametrize(
    "kind", ["file", "lists", "text", "escapes", "numbers", "digits", "quotes", "wide escape", "wide parts"]
)
def test_parsing_takes_at_most_three_bodies_beside_the_body(kind: str) -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE, kind], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 3


def test_parsing_is_fast() -> None:
    """Any body of 10 MB is parsed or refused without a search that takes forever: the event loop waits for it."""
    size = 10_000_000
    for body in (
        *(b"[" * size, b'"' * size, b"1" * size, b'["' + b"\\" * size + b'"]', b'{"a":"' + b"x" * size + b'"}'),
        b'["' + rb"\u002B" * (size // 6) + b'"]',
        b'["\xc3\xbc' + (b"\\" * 101 + b'"') * (size // 102) + b'"]',
    ):
        start = resource.getrusage(resource.RUSAGE_THREAD).ru_utime
        with suppress(Refusal):
            bodies.parse(body)
        assert resource.getrusage(resource.RUSAGE_THREAD).ru_utime - start < 2


def test_escaped_ascii_may_be_long(client: httpx.Client, cog: FakeCog) -> None:
    """Some clients escape the plus signs of base64."""
    body = rb'{"input":{"prompt":"\u7434","input_audio":"data:audio/wav;base64,' + rb"AA\u002B\/" * 50_000 + b'"}}'
    assert client.post("/predictions", content=body, headers=JSON).status_code == 200
    assert cog.requests[0]["input"]["input_audio"].endswith("AA+/")


def test_a_request_is_held_until_it_waits_for_its_turn(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = threading.Event()
    monkeypatch.setattr(addresses, "resolve", lambda host, port: answered.wait(30) and "203.0.113.1")
    monkeypatch.setattr(outbound, "_RESOLVE_TIMEOUT", 30)
    body = {"input": {"input_audio": "data:," + "A" * 100_000}, "webhook": "http://slow.invalid/"}

    def ask() -> None:
        with client_of(gateway) as own:
            own.post("/predictions", json=body | {"webhook_events_filter": []})

    with in_background(ask):
        try:
            wait_until(lambda: gateway._memory.held > 100_000)
            time.sleep(0.2)
            assert gateway._memory.held > 100_000
        finally:
            answered.set()
    wait_until(lambda: gateway._memory.held == 0)


def test_a_large_body_does_not_stop_the_service(client: httpx.Client, cog: FakeCog) -> None:
    body = b'{"input":{"prompt":"a","input_audio":"data:audio/wav;base64,' + b"A" * 20_000_000 + b'"}}'
    replies: list[int] = []
    thread = threading.Thread(
        target=lambda: replies.append(
            httpx.post(f"{client.base_url}/predictions", content=body, timeout=60).status_code
        )
    )
    thread.start()
    while thread.is_alive():
        assert client.get("/").status_code == 200
    thread.join()
    assert replies == [200] and len(cog.requests[0]["input"]["input_audio"]) > 20_000_000
