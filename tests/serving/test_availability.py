"""Answers of the gateway while Cog's server starts, fails or stops."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until


class Upstream:
    """Where Cog's server is, as the supervisor would say."""

    port: int | None = None


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest.fixture
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    with running(gateway_of(lambda: upstream.port)) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[httpx.Client]:
    with client_of(gateway) as client:
        yield client


@pytest.fixture
def cog(upstream: Upstream) -> Iterator[FakeCog]:
    with fake_cog() as server:
        upstream.port = server.server_port
        yield server


def refused(client: httpx.Client) -> str:
    """The sentence of a refused prediction."""
    reply = client.post("/predictions", json={"input": {}})
    assert (reply.status_code, reply.json()["status"], reply.headers["retry-after"]) == (503, "failed", "5")
    return str(reply.json()["error"])


def test_a_server_that_starts(client: httpx.Client) -> None:
    assert client.get("/health-check").json() == {"status": "STARTING"}
    assert client.get("/openapi.json").status_code == 200
    assert refused(client) == "The service is starting: try again in a moment."


def test_a_server_that_cannot_be_started(client: httpx.Client, gateway: Gateway) -> None:
    gateway.availability.failure = {"status": "SETUP_FAILED", "reason": "weights is empty."}
    assert client.get("/health-check").json() == gateway.availability.failure
    assert refused(client) == "The service could not be started and will be tried again: weights is empty."


def test_a_service_that_shuts_down(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    replies: list[httpx.Response] = []
    body = {"id": "mine", "input": {"prompt": "endless"}}
    thread = threading.Thread(target=lambda: replies.append(client.post("/predictions", json=body)))
    thread.start()
    wait_until(lambda: bool(cog.requests))
    gateway.availability.draining = True
    assert refused(client) == "The service is shutting down."
    assert client.get("/health-check").json() == {"status": "DRAINING"}
    assert client.post("/predictions/mine/cancel").status_code == 200
    thread.join()
    assert replies[0].json()["status"] == "canceled"


def test_predictions_are_given_up(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    replies: list[httpx.Response] = []
    body = {"input": {"prompt": "endless"}}
    threads = [threading.Thread(target=lambda: replies.append(client.post("/predictions", json=body))) for _ in "ab"]
    for thread in threads:
        thread.start()
    wait_until(lambda: gateway.unfinished == 2 and bool(cog.requests))
    gateway.give_up()
    for thread in threads:
        thread.join()
    sentence = "The service is shutting down and gave this prediction up."
    assert [(reply.status_code, reply.json()["error"]) for reply in replies] == [(503, sentence)] * 2
    wait_until(lambda: not gateway.unfinished)
    wait_until(lambda: not cog.running)


@pytest.mark.parametrize(
    ("status", "ready", "live"),
    [
        ("READY", 200, 200),
        ("BUSY", 200, 200),
        ("STARTING", 503, 200),
        ("UNHEALTHY", 503, 503),
        ("DEFUNCT", 503, 503),
        ("SETUP_FAILED", 503, 503),
    ],
)
def test_probes_are_answered_by_status_code(
    client: httpx.Client, cog: FakeCog, status: str, ready: int, live: int
) -> None:
    cog.status = status
    assert [client.get(path).status_code for path in ("/readyz", "/livez")] == [ready, live]
    assert client.get("/readyz").json() == {"status": status}


def test_a_draining_service_is_live(client: httpx.Client, gateway: Gateway) -> None:
    assert client.get("/readyz").json() == {"status": "STARTING"}
    gateway.availability.draining = True
    assert [client.get(path).status_code for path in ("/readyz", "/livez")] == [503, 200]


def test_a_full_disk(upstream: Upstream, cog: FakeCog) -> None:
    problem = "The service has no room left."
    gateway = gateway_of(lambda: upstream.port, lambda: problem)
    with running(gateway), client_of(gateway) as client:
        assert refused(client) == problem and cog.requests == []


def test_a_crash_costs_one_attempt_and_two_end_it(client: httpx.Client, upstream: Upstream) -> None:
    accepted = 0
    with socket.create_server(("127.0.0.1", 0)) as broken:

        def crash() -> None:
            nonlocal accepted
            for _ in range(2):
                connection, _ = broken.accept()
                connection.recv(65_536)
                connection.close()
                accepted += 1

        thread = threading.Thread(target=crash, daemon=True)
        thread.start()
        upstream.port = broken.getsockname()[1]
        reply = client.post("/predictions", json={"input": {}})
        thread.join(60)
    assert reply.status_code == 502 and "broke down" in reply.json()["error"] and accepted == 2


def test_a_prediction_waits_for_a_server_that_is_started_again(
    client: httpx.Client, upstream: Upstream, gateway: Gateway
) -> None:
    replies: list[httpx.Response] = []
    body = {"input": {"prompt": "endless"}}
    with fake_cog() as first:
        upstream.port = first.server_port
        thread = threading.Thread(target=lambda: replies.append(client.post("/predictions", json=body)))
        thread.start()
        wait_until(lambda: bool(first.requests))
        upstream.port = None
        body["input"]["prompt"] = ""
        for cancelled in list(first.running.values()):
            cancelled.set()
    thread.join()
    assert replies[0].json()["status"] == "canceled"
    with fake_cog() as second:
        upstream.port = second.server_port
        assert client.post("/predictions", json={"input": {}}).json()["status"] == "succeeded"


def test_a_waiting_prediction_fails_when_the_server_cannot_be_started(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, upstream: Upstream
) -> None:
    cog.status = "UNHEALTHY"
    replies: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: replies.append(client.post("/predictions", json={"input": {}})))
    thread.start()
    wait_until(lambda: cog.refused > 1)
    gateway.availability.failure = {"status": "SETUP_FAILED", "reason": "weights is empty."}
    thread.join()
    assert replies[0].status_code == 503 and "weights is empty." in replies[0].json()["error"]
