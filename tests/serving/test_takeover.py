"""Predictions that had not ended when the service did: the next one carries them out, or their clients are told."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.refusals import LOST
from musicgen_service.serving.store import Store
from musicgen_service.serving.unfinished import Unfinished
from tests.serving.conftest import MODELS, client_of, gateway_of, running
from tests.serving.supervised import SCRIPT, log_of
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import PROJECT, Server, free_port, serving, wait_until, webhook

KEEPING = SCRIPT.replace(
    "GatewayOptions()",
    """GatewayOptions(
        Models.load(None, {}), results=pathlib.Path(os.environ["MUSICGEN_RESULTS"]), places=10
    )""",
).replace("import os, sys", "import os, pathlib, sys\nfrom musicgen_service.serving.models import Models")


@contextmanager
def started(folder: Path, port: str) -> Iterator[Server]:
    resume = folder / "resume"
    with serving(["-c", KEEPING, "--port"], PROJECT, folder / "temp", PORT=port, RESUME=str(resume)) as server:
        yield server


def begin(client: httpx.Client, name: str, **inputs: str) -> None:
    body = {"id": name, "input": {"prompt": "wait"} | inputs}
    assert client.post("/predictions", json=body, headers={"Prefer": "respond-async"}).status_code == 202


def status(client: httpx.Client, name: str) -> str:
    return str(client.get(f"/predictions/{name}").json()["status"])


def kill(server: Server) -> None:
    server.process.kill()
    server.process.wait()


@pytest.mark.slow
def test_what_goes_on_without_its_client_is_carried_out_after_a_kill(tmp_path: Path) -> None:
    port = str(free_port())
    with webhook() as (hook, reports):
        with started(tmp_path, port) as server:
            begin(server.client, "running")
            wait_until(lambda: status(server.client, "running") == "processing")
            before = server.client.get("/predictions/running").json()
            body = {"version": "meta/musicgen", "input": {"prompt": "a"}} | hook
            own = server.client.post("/v1/predictions", json=body).json()
            kill(server)
        with started(tmp_path, port) as server:
            wait_until(lambda: status(server.client, "running") == "processing")
            (tmp_path / "resume").touch()
            wait_until(lambda: status(server.client, "running") == "succeeded")
            after = server.client.get("/predictions/running").json()
            assert after["created_at"] == before["created_at"] and server.client.get(after["output"][0]).text == "wait"
            wait_until(lambda: bool(reports))
            hosted = server.client.get(f"/v1/predictions/{own['id']}").json()
            assert (hosted["status"], hosted["model"]) == ("succeeded", "meta/musicgen")
    [report] = reports
    assert (report["id"], report["status"]) == (own["id"], "succeeded") and "urls" in report  # in its route's form


@pytest.mark.slow
def test_who_waited_for_the_reply_is_told(tmp_path: Path) -> None:
    port = str(free_port())
    with webhook() as (hook, reports):
        with started(tmp_path, port) as server:
            body = {"id": "attached", "input": {"prompt": "wait"}} | hook
            waiting = threading.Thread(target=_post_until_cut, args=[server.client, body])
            waiting.start()
            wait_until(lambda: is_kept(tmp_path, port, "attached"))
            kill(server)
            waiting.join()
        with started(tmp_path, port) as server:
            wait_until(lambda: status(server.client, "attached") == "failed")
            job = server.client.get("/predictions/attached").json()
            assert (job["error"], job["output"]) == (LOST, None) and job["created_at"] < job["completed_at"]
            wait_until(lambda: bool(reports))
    assert [report["error"] for report in reports] == [LOST]


def is_kept(tmp_path: Path, port: str, key: str) -> bool:
    """Whether a new process would find a prediction."""
    with closing(Store(tmp_path / "temp.results" / port / "predictions.sqlite")) as store:
        return store.find("127.0.0.1", key) is not None


def _post_until_cut(client: httpx.Client, body: dict[str, Any]) -> None:
    with suppress(httpx.TransportError):
        client.post("/predictions", json=body)


@pytest.mark.slow
def test_what_the_service_died_in_twice_is_not_carried_out_again(tmp_path: Path) -> None:
    port = str(free_port())
    with started(tmp_path, port) as server:
        begin(server.client, "deadly")
        wait_until(lambda: status(server.client, "deadly") == "processing")
        kill(server)
    with started(tmp_path, port) as server:
        wait_until(lambda: status(server.client, "deadly") == "processing")
        kill(server)
    with started(tmp_path, port) as server:
        wait_until(lambda: status(server.client, "deadly") == "failed")
        assert server.client.get("/predictions/deadly").json()["error"] == LOST


@pytest.mark.slow
def test_what_has_ended_is_not_carried_out_again(tmp_path: Path) -> None:
    port = str(free_port())
    with started(tmp_path, port) as server:
        begin(server.client, "done", prompt="a")
        wait_until(lambda: status(server.client, "done") == "succeeded")
        kill(server)
    with started(tmp_path, port) as server:
        assert status(server.client, "done") == "succeeded"
        assert "taken over" not in log_of(server)


@contextmanager
def answering(results: Path, port: int, cog: FakeCog) -> Iterator[tuple[Gateway, httpx.Client]]:
    """A gateway that ends in order, but does not wait for its predictions."""
    gateway = gateway_of(lambda: cog.server_port, port=port, results=results, places=3)
    gateway.start()
    try:
        with client_of(gateway) as client:
            yield gateway, client
    finally:
        gateway.stop()


def test_what_is_left_in_order_may_be_left_again_and_again(tmp_path: Path) -> None:
    port = free_port()
    with fake_cog() as cog:
        for turn in range(3):
            with answering(tmp_path, port, cog) as (_, client):
                if turn == 0:
                    begin(client, "long", negative_prompt="noise")
                    begin(client, "waiting", prompt="b")
                wait_until(lambda turn=turn: len(cog.requests) > turn)  # type: ignore[misc]
                wait_until(lambda: status(client, "long") == "processing")
                assert status(client, "waiting") == "starting"
            wait_until(lambda: not cog.running)  # whoever stops gives up its slots
        cog.resume.set()
        with answering(tmp_path, port, cog) as (_, client):
            wait_until(lambda: status(client, "long") == status(client, "waiting") == "succeeded")
    assert {request["input"].get("negative_prompt") for request in cog.requests if _is_long(request)} == {"noise"}
    assert len({request["id"] for request in cog.requests}) == len(cog.requests)


def _is_long(request: dict[str, Any]) -> bool:
    return bool(request["input"]["prompt"] == "wait")


def test_it_can_be_cancelled_by_whoever_has_taken_it_over(tmp_path: Path) -> None:
    port = free_port()
    with fake_cog() as cog:
        with answering(tmp_path, port, cog) as (_, client):
            begin(client, "long")
        with answering(tmp_path, port, cog) as (_, client):
            wait_until(lambda: client.post("/predictions/long/cancel").status_code == 200)
            wait_until(lambda: status(client, "long") == "canceled")
        with answering(tmp_path, port, cog) as (gateway, client):
            time.sleep(1.5)  # more than a look
            assert status(client, "long") == "canceled" and not gateway.unfinished


def test_what_waits_to_be_taken_over_is_listed_and_can_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSICGEN_ALLOW_PRIVATE_URLS", "1")
    with fake_cog() as cog, webhook() as (hook, reports):
        with answering(tmp_path, port := free_port(), cog) as (_, client):
            song = f"http://music.test/files/{'0' * 32}/song.wav"
            body = {"id": "long", "input": {"prompt": "wait", "input_audio": song}} | hook
            assert client.post("/predictions", json=body, headers={"Prefer": "respond-async"}).status_code == 202
            own = client.post("/v1/predictions", json={"version": "meta/musicgen", "input": {}}).json()["id"]
            wait_until(lambda: bool(cog.requests))
        wait_until(lambda: not cog.running)
        full = "There is no room."  # so that nothing can be carried out
        gateway = gateway_of(lambda: cog.server_port, lambda: full, port=port, results=tmp_path)
        with running(gateway), client_of(gateway) as client:
            wait_until(lambda: len(gateway._takeover._waiting) == 2)
            assert {job["id"] for job in client.get("/predictions").json()["results"]} == {"long", own}
            assert gateway._results.used() == {"0" * 32}  # what it needs is kept
            assert client.get("/predictions/long/audio").status_code == 503
            assert client.post("/predictions/long/cancel").status_code == 200
            assert status(client, "long") == "canceled" and client.post("/predictions/long/cancel").status_code == 404
            assert client.post(f"/v1/predictions/{own}/cancel").json()["status"] == "canceled"
            assert [job["status"] for job in client.get("/predictions").json()["results"]] == ["canceled"] * 2
            wait_until(lambda: bool(reports))
    assert [report["status"] for report in reports] == ["canceled"] and len(cog.requests) == 1


def test_what_finds_no_place_waits_for_one(tmp_path: Path) -> None:
    with fake_cog() as cog, answering(tmp_path, port := free_port(), cog) as (_, client):
        for number in range(4):  # one slot, three places
            begin(client, f"new-{number}")
        store = Store(tmp_path / str(port) / "predictions.sqlite")
        other = Unfinished(tmp_path / str(port) / "running", store)
        [owner] = owners(store)
        other.note(prediction_of("old", owner))
        other.close()
        time.sleep(2.5)  # two looks
        assert status(client, "old") == "starting" and len(cog.requests) == 1
        cog.resume.set()
        wait_until(lambda: status(client, "old") == "succeeded")
        store.close()


def owners(store: Store) -> set[str]:
    return {row[0] for row in store._database.execute("SELECT owner FROM unfinished")}


def prediction_of(name: str, owner: str, **attributes: Any) -> Prediction:
    asked = PredictionRequest(name, {"prompt": "a"}, None, ("completed",), MODELS.own)
    return Prediction(asked, owner, **{"is_detached": True} | attributes)


def test_what_another_process_carries_out_is_left_to_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "predictions.sqlite")
    first, second, third = (Unfinished(tmp_path / "running", store) for _ in range(3))
    prediction = prediction_of("a", "somebody")
    first.note(prediction)
    first.note(prediction_of("b", "somebody", is_detached=False))
    assert second.left_behind(MODELS) == first.left_behind(MODELS) == []
    found = store.find("somebody", "a")
    assert found is not None and found["status"] == "starting"  # as it is known to whoever asks the second one
    first.close()
    left, attached = second.left_behind(MODELS)
    assert (left.id, left.owner, left.request.inputs) == ("a", "somebody", {"prompt": "a"})
    assert left.is_detached and left.attempts == 0 and left.key != prediction.key
    assert (attached.id, attached.is_detached, attached.request.inputs) == ("b", False, {})
    assert third.left_behind(MODELS) == []
    store.add(left.key, left.owner, found | {"status": "failed"}, None, 0)
    assert second.left_behind(MODELS) == []
    assert len(list((tmp_path / "running").iterdir())) == 2
    second.close()
    third.close()
    store.close()


def test_a_note_of_an_earlier_version_or_of_another_model_is_not_carried_out(tmp_path: Path) -> None:
    store = Store(tmp_path / "predictions.sqlite")
    job = prediction_of("a", "somebody").as_hosted()
    noted = {"webhook": None, "events": ["completed"], "base_url": None, "created_at": 1.0}
    store.add_unfinished("1", "gone", "somebody", job, noted)
    more = {"inputs": {"prompt": "a"}, "model": "nobody/nothing", "attempts": 0}
    store.add_unfinished("2", "gone", "somebody", job, noted | more)
    unfinished = Unfinished(tmp_path / "running", store)
    left = unfinished.left_behind(MODELS)
    assert [prediction.is_detached for prediction in left] == [False, False]
    unfinished.close()
    store.close()
