"""What clients get from a cluster is what they get from one service: results, audio, progress, an end when they ask."""

import base64
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.harness import wait_until
from tests.support.ray_cluster import PLACES, SLOTS, RayCluster, until_ended

pytestmark = pytest.mark.ray


def said(reply: dict[str, Any]) -> str:
    """The content of the output, which is the prompt."""
    assert reply.get("output"), reply
    return base64.b64decode(reply["output"][0].partition(",")[2]).decode()


def begin(client: httpx.Client, prompt: str, name: str) -> None:
    body = {"id": name, "input": {"prompt": prompt}}
    reply = client.post("/predictions", json=body, headers={"Prefer": "respond-async"})
    assert reply.status_code == 202, reply.text


def runs(client: httpx.Client, name: str) -> bool:
    return bool(client.get(f"/predictions/{name}").json()["status"] == "processing")


def test_mixed_requests_are_all_carried_out(cluster: RayCluster, client: httpx.Client) -> None:
    def ask(number: int) -> bool:
        name, prompt = f"mixed-{number}", f"number {number}"
        if number % 4 == 0:
            begin(client, prompt, name)
            return until_ended(client, name)["status"] == "succeeded"
        if number % 4 == 1:
            return client.post("/predictions", json={"input": {"prompt": "fail"}}).json()["status"] == "failed"
        headers = {"Prefer": "output=url"} if number % 4 == 2 else {}
        reply = client.post("/predictions", json={"id": name, "input": {"prompt": prompt}}, headers=headers).json()
        if number % 4 == 2:
            assert reply.get("output"), reply
            return bool(client.get(reply["output"][0]).text == prompt)
        return said(reply) == prompt

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(40)))


def test_both_replicas_work(cluster: RayCluster, client: httpx.Client) -> None:
    for number in range(2 * SLOTS):
        begin(client, "wait", f"both-{number}")
    wait_until(lambda: all(runs(client, f"both-{number}") for number in range(2 * SLOTS)))
    assert client.get("/health-check").json() == {"status": "BUSY", "replicas": 2}
    cluster.resume.touch()
    assert {until_ended(client, f"both-{number}")["status"] for number in range(2 * SLOTS)} == {"succeeded"}


def loaded(client: httpx.Client, *models: str) -> bool:
    entries = client.get("/models").json()["models"]
    return {entry["name"] for entry in entries if entry["loaded"]} >= set(models)


def test_a_model_is_used_where_it_is_loaded(cluster: RayCluster, client: httpx.Client) -> None:
    def used(**inputs: str) -> str:
        return said(client.post("/predictions", json={"input": {"prompt": "who"} | inputs}).json())

    first = {}
    for model in ("small", "melody"):
        first[model] = used(model_version=model)
        wait_until(lambda model=model: loaded(client, model))  # type: ignore[misc]
    assert first["small"] != first["melody"]
    for model in ("small", "melody") * 3:
        assert used(model_version=model) == first[model]
    # A copy with an adapter is made where its checkpoint is, and from then on used there by whoever names it alone.
    for _ in range(2):
        assert used(model_version="melody", adapter="style") == first["melody"]
    time.sleep(3)  # until the gateway has been told
    for _ in range(4):
        assert used(adapter="style") == first["melody"]


def test_a_stream_is_heard_while_it_is_made(cluster: RayCluster, client: httpx.Client) -> None:
    with client.stream("POST", "/predictions/stream", json={"input": {"prompt": "music"}}) as reply:
        assert (reply.status_code, reply.headers["content-type"]) == (200, "audio/wav")
        pieces = reply.iter_bytes()
        first = next(pieces)  # the rest is not made yet
        cluster.resume.touch()
        whole = first + b"".join(pieces)
    assert whole[:4] == b"RIFF" and len(whole) == int(reply.headers.get("content-length", len(whole)))
    assert len(whole) > 2 * 32000 * 2  # two seconds


def test_a_running_prediction_is_heard_by_who_joins_it(cluster: RayCluster, client: httpx.Client) -> None:
    begin(client, "music", "joined")
    wait_until(lambda: runs(client, "joined"))
    with client.stream("GET", "/predictions/joined/audio") as reply:
        pieces = reply.iter_bytes()
        assert next(pieces)[:4] == b"RIFF"
        cluster.resume.touch()
        assert sum(map(len, pieces))
    assert until_ended(client, "joined")["status"] == "succeeded"


def test_progress_and_log_are_seen_through_any_proxy(cluster: RayCluster, client: httpx.Client) -> None:
    begin(client, "wait", "watched")
    wait_until(lambda: client.get("/predictions/watched").json()["progress"] == 0.5)
    for _ in range(20):  # connections of their own, which either proxy may accept
        job = client.get("/predictions/watched").json()
        assert (job["status"], job["logs"]) == ("processing", "task text\n50 %\n")
    cluster.resume.touch()
    assert until_ended(client, "watched")["progress"] == 1


def test_cancelling_ends_it_and_frees_its_slot(cluster: RayCluster, client: httpx.Client) -> None:
    for number in range(3 * SLOTS):  # more than can be cancelled without slots that are freed
        begin(client, "endless", f"ended-{number}")
    wait_until(lambda: sum(runs(client, f"ended-{number}") for number in range(3 * SLOTS)) == 2 * SLOTS)
    for number in range(3 * SLOTS):
        assert client.post(f"/predictions/ended-{number}/cancel").status_code == 200
        assert until_ended(client, f"ended-{number}")["status"] == "canceled"
    cluster.resume.touch()
    assert client.post("/predictions", json={"input": {"prompt": "next"}}).json()["status"] == "succeeded"


def test_hanging_up_ends_it(cluster: RayCluster, client: httpx.Client) -> None:
    body = b'{"id":"left","input":{"prompt":"endless"}}'
    request = b"POST /predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    address = urlsplit(cluster.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(request)
        wait_until(lambda: client.get("/predictions/left").status_code == 200 and runs(client, "left"))
    assert until_ended(client, "left")["status"] == "canceled"


def test_an_uploaded_file_reaches_the_replica(cluster: RayCluster, client: httpx.Client) -> None:
    upload = client.post("/files", files={"file": ("tone.wav", b"RIFF....WAVE", "audio/wav")})
    assert upload.status_code == 201, upload.text
    reply = client.post("/predictions", json={"input": {"prompt": upload.json()["urls"]["get"]}}).json()
    assert said(reply) == "data:audio/wav;base64," + base64.b64encode(b"RIFF....WAVE").decode()


def test_a_full_queue_says_when_to_come_back(cluster: RayCluster, client: httpx.Client) -> None:
    room = 3 * SLOTS + PLACES  # what runs, what waits at Serve for a further replica, what waits at the gateway
    replies: list[httpx.Response] = []
    threads = [
        threading.Thread(target=lambda: replies.append(client.post("/predictions", json={"input": {"prompt": "wait"}})))
        for _ in range(room + 4)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(replies) == 4)
    assert {reply.status_code for reply in replies} == {429} and all(reply.headers["retry-after"] for reply in replies)
    cluster.resume.touch()
    for thread in threads:
        thread.join()
    assert sorted(reply.status_code for reply in replies) == [200] * room + [429] * 4
