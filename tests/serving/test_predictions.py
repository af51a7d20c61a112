"""Predictions that wait, run, are cancelled, or lose their worker; and who may see them."""

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from musicgen_service.serving import prediction_request
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.prediction import Prediction
from tests.serving.conftest import MODELS, client_of, gateway_of, running
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until


@contextmanager
def posted(gateway: Gateway, client: httpx.Client, *prompts: str, **fields: Any) -> Iterator[list[httpx.Response]]:
    """Predictions that are posted one after the other, each of a connection of its own; their replies in the end."""
    replies: list[httpx.Response] = []
    with ThreadPoolExecutor(len(prompts) or 1) as pool:
        futures = []
        for prompt in prompts:
            before = gateway.unfinished
            futures.append(pool.submit(client.post, "/predictions", json={"input": {"prompt": prompt}} | fields))
            wait_until(lambda before=before: gateway.unfinished > before)  # type: ignore[misc]
        yield replies
        replies += [future.result() for future in futures]


def test_predictions_wait_for_their_turn(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "wait", "b", "c", "d") as replies:
        wait_until(lambda: cog.prompts == ["wait"])
        assert cog.refused == 0
        cog.resume.set()
    assert [reply.status_code for reply in replies] == [200] * 4
    assert cog.prompts == ["wait", "b", "c", "d"]


def test_clients_take_turns(gateway: Gateway, client: httpx.Client, stranger: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "wait", "a1", "a2", "a3"), posted(gateway, stranger, "b1"):
        cog.resume.set()
    assert cog.prompts == ["wait", "a1", "b1", "a2", "a3"]


def test_as_many_run_as_cog_has_slots() -> None:
    with fake_cog(slots=3) as cog:
        gateway = gateway_of(lambda: cog.server_port, slots=3)
        with running(gateway), client_of(gateway) as client:
            with posted(gateway, client, "wait", "wait", "wait", "d"):
                wait_until(lambda: gateway.running == 3)
                assert "d" not in cog.prompts
                cog.resume.set()
            assert cog.prompts[-1] == "d" and cog.refused == 0


def test_of_many_clients_at_once_each_is_served_or_told_when_to_come_back(
    gateway: Gateway, client: httpx.Client, cog: FakeCog
) -> None:
    cog.resume.set()

    def ask(number: int) -> tuple[int, bool]:
        with client_of(gateway) as own:
            reply = own.post("/predictions", json={"input": {"prompt": f"{number}"}})
        return reply.status_code, int(reply.headers.get("retry-after", 0)) >= 1

    with ThreadPoolExecutor(64) as pool:
        replies = Counter(pool.map(ask, range(64)))
    assert replies.keys() <= {(200, False), (429, True)} and replies[200, False] >= 6


def test_a_full_queue_says_when_to_come_back(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    assert client.post("/predictions", json={"input": {}}).status_code == 200  # whose time is known now
    wait_until(lambda: not gateway.unfinished)
    with posted(gateway, client, "wait", *"bcdef"):
        reply = client.post("/predictions", json={"input": {}})
        assert (reply.status_code, reply.json()["status"]) == (429, "failed")
        assert reply.json()["error"] == "Too many predictions are waiting: try again later."
        assert int(reply.headers["retry-after"]) >= 1
        cog.resume.set()
    assert len(cog.prompts) == 7


def test_an_invalid_request_does_not_wait(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "wait"):
        assert client.post("/predictions", json={"input": {"duration": 0}}).status_code == 422
        cog.resume.set()


def test_a_busy_cog_is_asked_again(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    cog.running["other"] = threading.Event()
    with posted(gateway, client, "a") as replies:
        wait_until(lambda: cog.refused > 2)
        del cog.running["other"]
    assert replies[0].status_code == 200


def test_cancelling_what_waits_costs_nothing(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "wait"):
        with posted(gateway, client, "b", id="second") as replies:
            assert client.post("/predictions/second/cancel").json() == {}
        assert replies[0].status_code == 200
        assert replies[0].json() == {"id": "second", "status": "canceled", "logs": "", "metrics": {}}
        cog.resume.set()
    assert cog.prompts == ["wait"] and cog.cancelled == []
    assert client.post("/predictions/second/cancel").status_code == 404


def test_cancelling_what_runs_ends_it_at_cog(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "endless", id="mine") as replies:
        wait_until(lambda: bool(cog.requests))
        assert client.post("/predictions/mine/cancel").status_code == 200
    assert replies[0].json()["status"] == "canceled" and "task text" in replies[0].json()["logs"]
    assert cog.cancelled == [cog.requests[0]["id"]]


@pytest.mark.parametrize(("prompt", "cancels"), [("deaf", 2), ("cut off", 1)])
def test_a_cancel_at_its_beginning_ends_it_too(
    gateway: Gateway, client: httpx.Client, cog: FakeCog, prompt: str, cancels: int
) -> None:
    with posted(gateway, client, prompt, id="mine") as replies:
        wait_until(lambda: bool(cog.requests))
        assert client.post("/predictions/mine/cancel").status_code == 200
    reply = replies[0].json()
    assert reply["status"] == "canceled" and "error" not in reply
    assert cog.cancelled == [cog.requests[0]["id"]] * cancels


def test_what_is_cancelled_is_no_failure_when_its_worker_dies(
    gateway: Gateway, client: httpx.Client, cog: FakeCog
) -> None:
    with posted(gateway, client, "dying", id="mine") as replies:
        wait_until(lambda: bool(cog.requests))
        assert client.post("/predictions/mine/cancel").status_code == 200
    assert replies[0].json()["status"] == "canceled" and cog.prompts == ["dying"]


def test_cancelling_what_cog_refuses_ends_it(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    cog.running["other"] = threading.Event()
    with posted(gateway, client, "a", id="mine") as replies:
        wait_until(lambda: cog.refused > 2)
        assert client.post("/predictions/mine/cancel").status_code == 200
    assert replies[0].json()["status"] == "canceled" and cog.requests == []
    del cog.running["other"]


def test_cancelling_at_the_start_frees_the_slot(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    async def begin_and_cancel() -> str:
        request = prediction_request.read({"input": {"prompt": "a"}}, None, MODELS.own)
        prediction = Prediction(request, "owner")
        gateway._predictions.add(prediction)
        await gateway._predictions.cancel(prediction)
        await prediction.ended.wait()
        return prediction.status

    for _ in range(3):
        assert asyncio.run_coroutine_threadsafe(begin_and_cancel(), gateway._loop).result() == "canceled"
    assert client.post("/predictions", json={"input": {}}).json()["status"] == "succeeded"


@pytest.mark.parametrize("rest", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"])
@pytest.mark.parametrize("first", ["endless", "wait"])
def test_disconnect_cancels(client: httpx.Client, gateway: Gateway, cog: FakeCog, first: str, rest: bytes) -> None:
    body = b'{"input":{"prompt":"endless"}}'
    request = b"POST /predictions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with posted(gateway, client, *(["wait"] if first == "wait" else [])):
        with socket.create_connection(gateway.address) as connection:
            connection.sendall(request)
            wait_until(lambda: gateway.unfinished == (2 if first == "wait" else 1))
            if first == "endless":
                wait_until(lambda: bool(cog.requests))
            connection.sendall(rest)
            time.sleep(0.1 * bool(rest))  # it arrives before the end of the connection
        wait_until(lambda: gateway.unfinished == (1 if first == "wait" else 0))
        cog.resume.set()
    assert len(cog.cancelled) == (first == "endless")


def test_an_id_is_its_owners(gateway: Gateway, client: httpx.Client, stranger: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "endless", id="mine") as replies:
        wait_until(lambda: bool(client.get("/predictions/mine").json()["logs"]))
        key = cog.requests[0]["id"]
        for other in (stranger, client):  # Cog's id is nobody's
            assert other.post(f"/predictions/{key}/cancel").status_code == 404
        assert stranger.post("/predictions/mine/cancel").status_code == 404
        # The same id of somebody else is another prediction.
        with posted(gateway, stranger, "b", id="mine") as theirs:
            again = client.put("/predictions/mine", json={"input": {"prompt": "other"}})
            assert (again.status_code, again.json()["id"], again.json()["status"]) == (202, "mine", "processing")
            assert "task text" in again.json()["logs"] and "endless" not in again.text
            client.post("/predictions/mine/cancel")
        assert theirs[0].json()["status"] == "succeeded"
    assert replies[0].json()["status"] == "canceled"
    assert cog.prompts == ["endless", "b"]
    # When it has ended, the id may be used again.
    assert client.put("/predictions/mine", json={"input": {"prompt": "c"}}).status_code == 200


def test_ids_at_cog_are_used_once(client: httpx.Client, cog: FakeCog) -> None:
    for _ in range(3):
        client.post("/predictions", json={"id": "same", "input": {}})
    assert len({request["id"] for request in cog.requests}) == 3


def test_a_dead_worker_costs_one_attempt(client: httpx.Client, cog: FakeCog) -> None:
    reply = client.post("/predictions", json={"input": {"prompt": "worker crash"}})
    assert reply.json()["status"] == "succeeded" and cog.prompts == ["worker crash"] * 3


def test_a_failure_has_its_log_and_one_prefix(client: httpx.Client, cog: FakeCog) -> None:
    for name, logs in (("named", "task text\n50 %\nmore\n"), (None, "")):  # without a name as by Cog
        reply = client.post("/predictions", json={"id": name, "input": {"prompt": "fail"}}).json()
        assert (reply["status"], reply["error"]) == ("failed", "Prediction failed: x")
        assert reply["logs"] == logs and "output" not in reply


def test_what_nobody_can_name_sends_no_events(client: httpx.Client, cog: FakeCog) -> None:
    client.post("/predictions", json={"input": {}})
    client.post("/predictions", json={"id": "named", "input": {}})
    assert ["webhook" in request for request in cog.requests] == [False, True]


def test_events_are_taken_from_cog_alone(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with posted(gateway, client, "wait", id="told") as replies:
        wait_until(lambda: bool(cog.requests))
        secret, key = cog.requests[0]["webhook"].rsplit("/", 2)[1:]
        address = cog.requests[0]["webhook"].partition(f"/{secret}")[0]
        forged = {"status": "failed", "logs": "forged"}
        assert httpx.post(f"{address}/{secret[:-1]}x/{key}", json=forged).status_code == 404
        assert httpx.post(f"{address}/{secret}/{key[:-1]}x", json=forged).status_code == 200
        cog.resume.set()
    assert "forged" not in replies[0].text


def test_a_fault_of_our_own_is_told_and_frees_the_slot(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(gateway._results.files, "save", lambda output, _: output.missing)
        reply = client.post("/predictions", json={"input": {}})
    assert (reply.status_code, reply.json()["error"]) == (500, "Something went wrong inside the service.")
    assert "AttributeError" in capfd.readouterr().err
    assert client.post("/predictions", json={"input": {}}).status_code == 200


def test_memory_of_inputs_is_given_back(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with posted(gateway, client, "wait", "b"):
        assert gateway._memory.held == len("wait") + len("b")
        cog.resume.set()
    wait_until(lambda: gateway._memory.held == 0)
