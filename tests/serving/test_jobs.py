"""Predictions that are polled, and files under addresses."""

import asyncio
import re
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.inputs import served_files
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.store import Store
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import in_background, wait_until

ASYNC = {"Prefer": "respond-async"}


def submit(client: httpx.Client, name: str, prompt: str = "a") -> None:
    body = {"id": name, "input": {"prompt": prompt}}
    reply = client.post("/predictions", json=body, headers=ASYNC)
    assert (reply.status_code, reply.json()) == (202, {"id": name, "status": "starting"})


def job(client: httpx.Client, name: str) -> dict[str, Any]:
    reply = client.get(f"/predictions/{name}")
    assert reply.status_code == 200
    content: dict[str, Any] = reply.json()
    return content


def ended(client: httpx.Client, name: str) -> dict[str, Any]:
    """The job when it has ended."""
    wait_until(lambda: job(client, name)["completed_at"] is not None)
    return job(client, name)


def test_a_job_is_polled_to_its_end(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with posted(gateway, client, "wait"):
        submit(client, "polled", "endless")
        waiting = job(client, "polled")
        assert (waiting["status"], waiting["progress"], waiting["output"]) == ("starting", 0, None)
        assert waiting["queue"]["position"] == 0 and waiting["started_at"] is None
        cog.resume.set()
    wait_until(lambda: job(client, "polled")["progress"] == 0.5)
    running = job(client, "polled")
    assert (running["status"], running["logs"]) == ("processing", "task text\n50 %\n") and "queue" not in running
    client.post("/predictions/polled/cancel")
    assert ended(client, "polled")["status"] == "canceled"


def test_a_result_has_addresses(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "sound", "sound of music")
    found = ended(client, "sound")
    assert (found["status"], found["progress"], found["error"]) == ("succeeded", 1, None)
    assert found["metrics"] == {"predict_time": 0.1} and "sound of music" not in str(found)
    assert found["created_at"] <= found["started_at"] <= found["completed_at"]
    [address] = found["output"]
    assert re.fullmatch(rf"{client.base_url}/files/[0-9a-f]{{32}}/output-01\.wav", address)
    reply = httpx.get(address)
    assert reply.content == b"sound of music" and reply.headers["content-type"] == "audio/wav"
    assert reply.headers["content-disposition"] == 'inline; filename="output-01.wav"'
    assert reply.headers["x-content-type-options"] == "nosniff"


def test_a_synchronous_reply_may_have_addresses(client: httpx.Client, cog: FakeCog) -> None:
    body = {"id": "url", "input": {"prompt": "b"}}
    prefer = [("Prefer", "wait"), ("Prefer", "output=url")]  # of a client or proxy that writes a line for each
    [address] = client.post("/predictions", json=body, headers=prefer).json()["output"]
    assert httpx.get(address).content == b"b"
    assert client.post("/predictions", json=body).json()["output"] == ["data:audio/wav;base64,Yg=="]
    assert job(client, "url")["output"][0].startswith(f"{client.base_url}/files/")


def test_addresses_are_those_that_the_client_knows(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "hosted")
    ended(client, "hosted")
    [address] = client.get("/predictions/hosted", headers={"Host": "music.test:81"}).json()["output"]
    assert address.startswith("http://music.test:81/files/")


def test_a_failure_is_a_job(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "failing", "fail")
    found = ended(client, "failing")
    assert (found["status"], found["error"], found["output"]) == ("failed", "Prediction failed: x", None)
    assert found["logs"] == "task text\n50 %\nmore\n"


def test_a_job_is_its_owners(client: httpx.Client, stranger: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    submit(client, "secret", "wait")
    wait_until(lambda: bool(cog.requests))
    for _ in range(2):
        for name in ("secret", cog.requests[0]["id"]):
            reply = stranger.get(f"/predictions/{name}")
            assert (reply.status_code, reply.json()["status"]) == (404, "failed")
        assert "secret" not in stranger.get("/predictions").text
        cog.resume.set()
        ended(client, "secret")
    assert client.get("/predictions/..%2fx").status_code == 422


def test_a_list_has_the_newest_first(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with client_of(gateway, "127.0.0.3") as other:
        for name in ("one", "two"):
            submit(other, name)
            ended(other, name)
        submit(other, "three", "wait")
        submit(other, "four")
        listed = other.get("/predictions").json()["results"]
        assert [found["id"] for found in listed] == ["four", "three", "two", "one"]
        assert listed[0]["queue"]["eta_seconds"] >= 1 and listed[2]["output"][0].startswith("http")
        cog.resume.set()


def test_the_latest_of_an_id_is_shown(client: httpx.Client, cog: FakeCog) -> None:
    for prompt in ("first", "second"):
        submit(client, "again", prompt)
        ended(client, "again")
    assert httpx.get(ended(client, "again")["output"][0]).content == b"second"


def test_parts_of_a_file_are_sent(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "ranged", "0123456789")
    [address] = ended(client, "ranged")["output"]
    part = httpx.get(address, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    whole = httpx.head(address)
    assert whole.headers["etag"] and whole.headers["accept-ranges"] == "bytes" and whole.content == b""
    for asked, status, size in (("bytes=90-", 416, "bytes */10"), ("bytes=x", 400, None), ("bits=1-2", 400, None)):
        refused = httpx.get(address, headers={"Range": asked})
        assert (refused.status_code, refused.headers.get("content-range")) == (status, size)
        assert refused.json()["error"] == "Range must be bytes=FIRST-LAST, within the file's 10 bytes."


def test_a_file_that_a_client_has_is_not_sent_again(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "known", "0123456789")
    [address] = ended(client, "known")["output"]
    tag = httpx.get(address).headers["etag"]
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        reply = httpx.get(address, headers={"If-None-Match": known, "Range": "bytes=2-4"})
        assert (reply.status_code, reply.content, reply.headers["etag"]) == (304, b"", tag)
    assert httpx.get(address, headers={"If-None-Match": '"x"'}).content == b"0123456789"


def test_a_file_that_goes_before_it_is_sent_is_missing(
    client: httpx.Client, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_files, "find", lambda folder, token, name: folder / token / name)
    reply = client.get(f"/files/{'0' * 32}/gone.wav")
    assert (reply.status_code, reply.json()["status"]) == (404, "failed")


@pytest.mark.parametrize(
    "tail", ["", "../../predictions.sqlite", "..%2f..%2fpredictions.sqlite", "output-02.wav", "x%00"]
)
def test_nothing_else_is_sent(client: httpx.Client, cog: FakeCog, tail: str) -> None:
    submit(client, "traversal")
    [address] = ended(client, "traversal")["output"]
    assert client.get(f"{address.rpartition('/')[0]}/{tail}").status_code == 404
    assert client.get(f"/files/{'0' * 32}/output-01.wav").status_code == 404
    assert client.get("/files/../predictions.sqlite").status_code == 404


def test_results_survive_a_restart(tmp_path: Path) -> None:
    with fake_cog() as cog:
        first = gateway_of(lambda: cog.server_port, results=tmp_path)
        port = first.address[1]
        with running(first), client_of(first) as client:
            submit(client, "kept", "sound")
            [address] = ended(client, "kept")["output"]
            wait_until(lambda: not first.unfinished)
        second = gateway_of(lambda: cog.server_port, results=tmp_path, port=port)
        with running(second), client_of(second) as client:
            assert ended(client, "kept")["output"] == [address]
            assert httpx.get(address).content == b"sound"
    assert (tmp_path / str(port)).stat().st_mode & 0o777 == 0o700


def test_nobody_is_told_of_an_end_that_is_not_kept_yet(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, may_keep, asked = gateway._results.store, threading.Event(), threading.Event()
    keep = store.add

    def late(*about: Any) -> None:
        asked.set()
        assert may_keep.wait(60)
        keep(*about)

    monkeypatch.setattr(store, "add", late)
    told: list[Any] = []
    body = {"id": "late", "input": {"prompt": "sound"}}
    with in_background(lambda: told.append(client.post("/predictions", json=body).json())), ExitStack() as at_last:
        at_last.callback(may_keep.set)
        assert asked.wait(60)
        found = job(client, "late")
        assert (found["status"], found["output"], found["completed_at"]) == ("processing", None, None)
        assert not told
        assert client.post("/predictions/late/cancel").status_code == 200  # which is too late
    assert told[0]["status"] == "succeeded"
    assert ended(client, "late")["status"] == "succeeded"


@pytest.mark.parametrize("prompt", ["sound", "fail", "endless"])
def test_what_is_polled_survives_a_kill(tmp_path: Path, prompt: str) -> None:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path)
        with running(gateway), client_of(gateway) as client:
            submit(client, "kept", prompt)
            wait_until(lambda: job(client, "kept")["status"] != "starting")
            client.post("/predictions/kept/cancel") if prompt == "endless" else None
            wait_until(lambda: job(client, "kept")["status"] != "processing")
            kept = Store(tmp_path / str(gateway.address[1]) / "predictions.sqlite")  # as a new process would find it
            found = kept.find("127.0.0.1", "kept")
            assert found is not None and found["status"] == job(client, "kept")["status"]
            kept.close()


def test_results_are_kept_for_a_time(tmp_path: Path) -> None:
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path, keep_seconds=0)
        with running(gateway), client_of(gateway) as client:
            submit(client, "gone")
            wait_until(lambda: not gateway.unfinished)
            sweep(gateway)
            assert client.get("/predictions/gone").status_code == 404
    assert not list((tmp_path / str(gateway.address[1]) / "files").iterdir())


def sweep(gateway: Gateway) -> None:
    """Have results removed now."""
    asyncio.run_coroutine_threadsafe(gateway._results.sweep(), gateway._loop).result()


def test_an_unwritable_folder_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path / "file")
        with running(gateway), client_of(gateway) as client:
            submit(client, "temporary")
            assert httpx.get(ended(client, "temporary")["output"][0]).status_code == 200
    assert "results will not survive a restart" in capfd.readouterr().err


def test_a_full_disk_keeps_the_reply(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gateway._results.files, "save", full)
    reply = client.post("/predictions", json={"id": "full", "input": {}}, headers={"Prefer": "output=url"})
    assert reply.json()["output"] == ["data:audio/wav;base64,"]
    found = ended(client, "full")
    assert found["output"] is None and "no room" in found["error"]


def test_many_jobs_of_many_clients(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    def work(number: int) -> None:
        with client_of(gateway, f"127.0.1.{number + 1}") as own:
            submit(own, "same", f"of {number}")
            assert httpx.get(ended(own, "same")["output"][0]).content == f"of {number}".encode()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(cog.prompts) == [f"of {number}" for number in range(5)]
