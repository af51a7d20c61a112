"""Reports to webhooks: where they go, what they say, and how often they are tried."""

import asyncio
import gc
import json
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest

from musicgen_service.inputs import addresses
from musicgen_service.serving import outbound, webhooks
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from tests.serving.conftest import MODELS, client_of
from tests.support.fake_cog import FakeCog
from tests.support.harness import http_server, wait_until

ASYNC = {"Prefer": "respond-async"}


class Hook(BaseHTTPRequestHandler):
    """Records reports; replies with each status in turn, the last one for ever."""

    reports: list[dict[str, Any]]
    heads: list[tuple[str, dict[str, str]]]
    bodies: list[bytes]
    statuses: list[int]

    def do_POST(self) -> None:
        self.heads.append((self.path, dict(self.headers)))
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.reports.append(json.loads(self.bodies[-1]))
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.send_response(status)
        if status in (301, 302, 303, 307, 308):
            self.send_header("Location", "/elsewhere")
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def hook(*statuses: int) -> Iterator[tuple[str, type[Hook]]]:
    kind: type[Hook] = type(
        "Own", (Hook,), {"reports": [], "heads": [], "bodies": [], "statuses": list(statuses or (200,))}
    )
    with http_server(kind) as address:
        yield address, kind


@pytest.fixture(autouse=True)
def private_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    monkeypatch.setattr(webhooks, "_WAITS", (0.05, 0.1))


def post(client: httpx.Client, address: str, prompt: str = "a", **fields: Any) -> None:
    """Post an asynchronous prediction."""
    body = {"id": "later", "input": {"prompt": prompt}, "webhook": address} | fields
    reply = client.post("/predictions", json=body, headers=ASYNC)
    assert (reply.status_code, reply.json()) == (202, {"id": "later", "status": "starting"})


def test_events_are_those_of_cog(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with hook() as (address, received):
        post(client, address)
        wait_until(lambda: not gateway.unfinished)
    known = {"id": "later", "metrics": {}, "logs": "task text\n50 %\n", "status": "processing"}
    [output] = received.reports[-1]["output"]
    assert httpx.get(output).content == b"a"
    done = known | {"metrics": {"predict_time": 0.1}, "output": [output]}
    assert received.reports == [known | {"logs": ""}, known, done, done | {"status": "succeeded"}]


def test_an_address_may_have_an_at_sign_behind_its_host(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with hook() as (address, received):
        post(client, f"{address}/@me?mail=a@b.example", webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    assert [path for path, _ in received.heads] == ["/@me?mail=a@b.example"]


@pytest.mark.parametrize("prompt", ["a", "fail"])
def test_events_are_filtered(client: httpx.Client, gateway: Gateway, cog: FakeCog, prompt: str) -> None:
    with hook() as (address, received):
        post(client, address, prompt, webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    [report] = received.reports
    assert report["status"] == ("failed" if prompt == "fail" else "succeeded")
    assert report["logs"].startswith("task text\n50 %\n")  # also of one that failed


def test_a_synchronous_prediction_reports_too(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with hook() as (address, received):
        client.post("/predictions", json={"input": {}, "webhook": address, "webhook_events_filter": ["start"]})
        wait_until(lambda: not gateway.unfinished)
    assert [report["status"] for report in received.reports] == ["processing"]


def test_the_end_is_reported_until_it_is_received(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with hook(500, 503, 200) as (address, received):
        post(client, address, webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    assert [report["status"] for report in received.reports] == ["succeeded"] * 3


def test_only_reports_are_held_until_they_are_received(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_WAITS", (3600.0,))
    audio = "data:audio/wav;base64," + "A" * 100_000
    ended = list[weakref.ref[Prediction]]()
    original = Prediction.give_up_inputs

    def give_up_inputs(prediction: Prediction) -> None:
        original(prediction)
        assert prediction.request.inputs == {}
        ended.append(weakref.ref(prediction))

    monkeypatch.setattr(Prediction, "give_up_inputs", give_up_inputs)
    with hook(404) as (address, received):
        body = {"input": {"input_audio": audio}, "webhook": address, "webhook_events_filter": ["completed"]}
        assert client.post("/predictions", json=body).status_code == 200
        wait_until(lambda: len(received.reports) == 1 and len(ended) == 1)
        wait_until(lambda: gateway._memory.held == len(received.bodies[0]))
        wait_until(lambda: gc.collect() >= 0 and ended[0]() is None)
    gateway._loop.call_soon_threadsafe(lambda: [task.cancel() for task in gateway._webhooks._tasks])
    wait_until(lambda: not gateway.unfinished and gateway._memory.held == 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(client: httpx.Client, gateway: Gateway, cog: FakeCog, status: int) -> None:
    with hook(status) as (address, received):
        post(client, f"{address}/hook", webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    assert [path for path, _ in received.heads] == ["/hook"] * 3


def test_secrets_are_not_logged(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, capfd: pytest.CaptureFixture[str]
) -> None:
    with hook(404) as (address, _):
        post(client, f"{address}/path?token=secret", webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    assert f"webhook of later to {address} failed: status 404\n" in capfd.readouterr().err


def test_a_host_is_resolved_once(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["127.0.0.1", "203.0.113.1"]
    monkeypatch.setattr(addresses, "resolve", lambda host, port: answers.pop(0))
    with hook(500, 200) as (address, received):
        port = address.rpartition(":")[2]
        post(client, f"http://hook.invalid:{port}/x?y=z", webhook_events_filter=["completed"])
        wait_until(lambda: not gateway.unfinished)
    assert [path for path, _ in received.heads] == ["/x?y=z"] * 2
    assert received.heads[0][1]["Host"] == f"hook.invalid:{port}" and answers == ["203.0.113.1"]


def test_a_host_that_is_not_found_after_a_restart_is_looked_up_again(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [addresses.AddressError(), addresses.AddressError()]

    def resolve(host: str, port: int) -> str:
        if failures:
            raise failures.pop()
        return "127.0.0.1"

    monkeypatch.setattr(addresses, "resolve", resolve)
    with hook() as (address, received):
        request = PredictionRequest("late", {}, address, ("completed",), MODELS.own)
        left_behind = Prediction(request, "somebody")

        async def report() -> None:
            gateway._webhooks.report(left_behind, address, lambda: {"status": "failed"})("completed")

        asyncio.run_coroutine_threadsafe(report(), gateway._loop).result()
        wait_until(lambda: not gateway.unfinished)
    assert received.reports == [{"status": "failed"}] and not failures


def test_slow_name_servers_hold_nothing(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "_RESOLVE_TIMEOUT", 0.5)
    asked = threading.Event()
    monkeypatch.setattr(addresses, "resolve", lambda host, port: asked.wait(30) and "")
    refused: list[int] = []

    def ask() -> None:
        with client_of(gateway) as own:
            body = {"input": {}, "webhook": "http://slow.invalid/"}
            refused.append(own.post("/predictions", json=body).status_code)

    threads = [threading.Thread(target=ask) for _ in range(12)]
    for thread in threads:
        thread.start()
    assert client.post("/predictions", json={"input": {}}).json()["status"] == "succeeded"
    for thread in threads:
        thread.join()
    asked.set()
    assert refused == [422] * 12


def test_a_hook_that_hangs_holds_nothing(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_TIMEOUT", 60)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post(client, f"http://127.0.0.1:{silent.getsockname()[1]}/", webhook_events_filter=["completed"])
        assert client.post("/predictions", json={"input": {}}).status_code == 200
        assert len(gateway._webhooks) == 1
    wait_until(lambda: not gateway.unfinished)


@pytest.mark.parametrize(
    ("webhook", "sentence"),
    [
        ("http://127.0.0.1:1/x", "webhook cannot be used: its host is not on the public internet."),
        ("http://169.254.169.254/", "webhook cannot be used: its host is not on the public internet."),
        ("http://2130706433/", "webhook cannot be used: its host is not on the public internet."),
        ("http://0x7f.1/", "webhook cannot be used: its host is not on the public internet."),
        ("http://[::ffff:127.0.0.1]/", "webhook cannot be used: its host is not on the public internet."),
        ("http://nowhere.invalid/", "webhook cannot be used: its host is not on the public internet."),
        ("file:///etc/passwd", "webhook must be an http(s) URL."),
        ("http://[::1", "webhook must be an http(s) URL."),
        ("http://127.0.0.1:1\\@8.8.8.8/", "webhook must be an http(s) URL."),
        ("http://user:pass@8.8.8.8/", "webhook must be an http(s) URL."),
        ("http://user@8.8.8.8/", "webhook must be an http(s) URL."),
        ("http://user@8.8.8.8/x@y", "webhook must be an http(s) URL."),
        ("http://user@8.8.8.8?x", "webhook must be an http(s) URL."),
        ("http://8.8.8.8/ x", "webhook must be an http(s) URL."),
        ("http://8.8.8.8/\r\nX: y", "webhook must be an http(s) URL."),
        ("http:///x", "webhook must be an http(s) URL."),
        ("http://8.8.8.8:0/", "webhook must be an http(s) URL."),
        ("http://8.8.8.8:65536/", "webhook must be an http(s) URL."),
        ("", "webhook must be an http(s) URL."),
        (" http://8.8.8.8/", "webhook must be an http(s) URL."),
    ],
)
def test_a_webhook_must_be_public(
    client: httpx.Client, cog: FakeCog, monkeypatch: pytest.MonkeyPatch, webhook: str, sentence: str
) -> None:
    monkeypatch.delenv("MUSICGEN_ALLOW_PRIVATE_URLS")
    reply = client.post("/predictions", json={"input": {}, "webhook": webhook})
    assert (reply.status_code, reply.json()["error"]) == (422, sentence)
    assert cog.requests == []
