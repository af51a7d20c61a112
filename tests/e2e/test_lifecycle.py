"""Requests that end early, at the same time, or after the client has gone."""

import json
import socket
import time
from typing import Any

import httpx

from tests.support.harness import Clip, Server, in_background, wait_until, webhook

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1}
LONG = SHORT | {"duration": 600}
"""Takes minutes, even with a tiny checkpoint."""


def is_free(server: Server) -> bool:
    return server.status() == "READY"


def begin(server: Server) -> int:
    """Wait until the server is free; returns the length of its log."""
    wait_until(lambda: is_free(server))
    return len(server.log.read_text())


def wait_for(task: str, server: Server, start: int) -> None:
    """Wait until the log after position `start` shows that a request for the task has started."""
    wait_until(lambda: f"task {task}" in server.log.read_text()[start:])


def test_cancelled_request_ends_within_a_second(server: Server, song: str) -> None:
    replies: list[dict[str, Any]] = []

    def long_request() -> None:
        replies.append(server.post({"id": "long", "input": LONG | {"input_audio": song, "continuation": True}}).json())

    start = begin(server)
    before = server.files()
    with in_background(long_request):
        wait_for("continuation", server, start)
        cancelled = time.monotonic()
        assert server.client.post("/predictions/long/cancel").status_code == 200
        wait_until(lambda: is_free(server))
        assert time.monotonic() - cancelled < 1
    assert replies[0]["status"] == "canceled"
    assert set(server.files()) <= set(before)
    assert server.make(**SHORT)


def test_cancelling_an_unknown_prediction_is_not_found(server: Server) -> None:
    assert server.client.post("/predictions/nothing/cancel").status_code == 404


def test_disconnect_cancels_the_request(server: Server) -> None:
    start = begin(server)
    body = json.dumps({"input": LONG})
    head = f"POST /predictions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        wait_for("text", server, start)
    wait_until(lambda: is_free(server))
    assert server.make(**SHORT)


def test_second_concurrent_client_must_retry(server: Server) -> None:
    start = begin(server)
    replies: list[httpx.Response] = []
    with in_background(lambda: replies.append(server.post({"id": "first", "input": LONG}))):
        wait_for("text", server, start)
        second = server.post({"input": SHORT})
        assert second.status_code == 409
        assert "At capacity" in second.json()["error"]
        server.client.post("/predictions/first/cancel")
    assert server.make(**SHORT)


def test_consecutive_clients_get_their_own_clips(server: Server) -> None:
    clips: dict[int, Clip] = {}

    def ask(seed: int) -> None:
        while (response := server.post({"input": SHORT | {"seed": seed}})).status_code == 409:
            time.sleep(0.02)
        clips[seed] = Clip.from_uri(response.json()["output"][0])

    wait_until(lambda: is_free(server))
    with in_background(lambda: ask(1)), in_background(lambda: ask(2)):
        pass
    for seed, clip in clips.items():
        assert server.make(**SHORT, seed=seed)[0].content == clip.content
    assert sorted(clips) == [1, 2]


def test_an_asynchronous_request_reports_to_its_webhook(server: Server) -> None:
    begin(server)
    with webhook() as (hook, reports):
        body = {"id": "later", "input": SHORT | {"seed": 5}, **hook}
        response = server.post(body, Prefer="respond-async")
        assert response.status_code == 202
        assert response.json()["id"] == "later"
        wait_until(lambda: len(reports) > 0)
    [report] = reports
    assert report["status"] == "succeeded"
    assert report["metrics"]["seed"] == 5
    [uri] = report["output"]
    assert Clip.from_uri(uri).content == server.make(**SHORT, seed=5)[0].content


def test_only_finished_clips_remain(server: Server, song: str) -> None:
    server.make(**SHORT, variations=3)
    server.make(input_audio=song, task="encode-decode", model_version="small")
    wait_until(lambda: is_free(server))
    assert {path.suffix for path in server.files()} <= {".wav", ".mp3", ".flac", ".ogg"}
    assert all(path.parent.name.startswith("request-") for path in server.files())


def test_prompts_are_not_in_the_log(server: Server) -> None:
    server.make(**SHORT | {"prompt": "the secret of the unicorn"})
    server.predict(**SHORT | {"prompt": "the secret of the unicorn", "model_version": "medium"})
    assert "unicorn" not in server.log.read_text()
