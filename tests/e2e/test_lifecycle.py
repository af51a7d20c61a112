"""Requests that end early, at the same time, or after the client has gone."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from musicgen_service.settings import Settings
from tests.support.harness import TIMEOUT, Clip, Server, in_background, wait_until, webhook

SLOTS = Settings().slots

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1}
LONG = SHORT | {"duration": 600}
"""Takes minutes, even with a tiny checkpoint."""


def begin(server: Server) -> int:
    """Wait until the server is idle; returns the length of its log."""
    wait_until(server.is_idle)
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
        before_cancel = server.processor_seconds()
        assert server.client.post("/predictions/long/cancel").status_code == 200
        wait_until(server.is_idle)
        assert server.processor_seconds() - before_cancel < 1
    assert replies[0]["status"] == "canceled"
    assert set(server.files()) <= set(before)
    assert server.make(**SHORT)


def test_cancelling_an_unknown_prediction_is_not_found(server: Server) -> None:
    assert server.client.post("/predictions/nothing/cancel").status_code == 404


def test_disconnect_cancels_the_request(server: Server) -> None:
    start = begin(server)
    body = json.dumps({"input": LONG})
    head = f"POST /predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}"
    url = server.client.base_url
    with socket.create_connection((url.host, url.port or 0)) as connection:
        connection.sendall(f"{head}\r\n\r\n{body}".encode())
        wait_for("text", server, start)
    wait_until(server.is_idle)
    assert server.make(**SHORT)


def test_client_beyond_the_slots_waits(server: Server) -> None:
    start = begin(server)
    with ThreadPoolExecutor(SLOTS + 1) as pool:
        for number in range(SLOTS):
            pool.submit(server.post, {"id": f"long-{number}", "input": LONG})
        wait_until(lambda: server.log.read_text()[start:].count("task text") == SLOTS)
        waiting = pool.submit(server.post, {"input": SHORT})
        assert server.status() == "BUSY"
        assert server.post({"input": SHORT | {"duration": 0}}).status_code == 422  # does not wait
        server.client.post("/predictions/long-3/cancel")
        assert waiting.result().json()["status"] == "succeeded"  # beside the others
        for number in range(SLOTS):
            server.client.post(f"/predictions/long-{number}/cancel")
    wait_until(server.is_idle)


MIXED = [
    SHORT | {"seed": 1},
    SHORT | {"seed": 2, "duration": 3, "model_version": "stereo-melody"},
    SHORT | {"seed": 3, "negative_prompt": "jazz"},
    SHORT | {"seed": 4, "duration": 2, "classifier_free_guidance": 1, "beat_sync_threshold": 2},
    SHORT | {"seed": 5, "variations": 3},
    SHORT | {"seed": 6, "task": "loop", "bpm": 120, "duration": 2},
    SHORT | {"seed": 7, "duration": 32, "output_format": "flac"},
    SHORT | {"seed": 8, "model_version": "melody", "chroma_coefficient": 2},
]


@pytest.mark.slow
def test_eight_clients_at_once_get_what_each_gets_alone(server: Server) -> None:
    def ask(inputs: dict[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = server.post({"input": inputs}).json()
        return reply

    alone = [ask(inputs) for inputs in MIXED]
    with ThreadPoolExecutor(len(MIXED)) as pool:
        together = list(pool.map(ask, MIXED))
    for reply, expected in zip(together, alone, strict=True):
        assert_equal(reply, expected)


def assert_equal(reply: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare two replies but for their times: what a request logs and notes is in its own alone, line by line."""
    assert reply["status"] == "succeeded" and reply["output"] == expected["output"]
    assert reply["logs"] == expected["logs"]
    figures = [
        {name: value for name, value in r["metrics"].items() if name != "predict_time"} for r in (reply, expected)
    ]
    assert figures[0] == figures[1]


def test_the_next_prediction_in_a_cancelled_ones_place_has_no_logs_or_metrics_of_it(server: Server) -> None:
    expected = server.predict(**SHORT | {"seed": 5})
    start = begin(server)
    with ThreadPoolExecutor(2 * SLOTS) as pool:
        for number in range(SLOTS):
            pool.submit(server.post, {"id": f"gone-{number}", "input": LONG})
        wait_until(lambda: server.log.read_text()[start:].count("task text") == SLOTS)
        following = []
        for number in range(SLOTS):
            following.append(pool.submit(server.post, {"input": SHORT | {"seed": 5}}))
            server.client.post(f"/predictions/gone-{number}/cancel")
        for reply in following:
            assert_equal(reply.result().json(), expected)


@pytest.mark.slow
def test_sixty_four_clients_at_once_are_all_served(server: Server) -> None:
    expected = {seed: server.predict(**SHORT | {"seed": seed})["output"] for seed in range(1, 5)}
    arrived = threading.Barrier(64)

    def ask(number: int) -> bool:
        with httpx.Client(base_url=server.client.base_url, timeout=TIMEOUT) as client:
            arrived.wait()
            reply = client.post("/predictions", json={"input": SHORT | {"seed": number % 4 + 1}})
        assert reply.status_code == 200, reply.text
        return bool(reply.json()["output"] == expected[number % 4 + 1])

    with ThreadPoolExecutor(64) as pool:
        assert list(pool.map(ask, range(64))) == [True] * 64


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


@pytest.mark.slow
def test_a_job_is_polled_until_its_file_is_there(server: Server) -> None:
    begin(server)
    body = {"id": "polled", "input": SHORT | {"duration": 60, "seed": 5, "output_format": "mp3"}}
    assert server.post(body, Prefer="respond-async").status_code == 202
    seen = set()

    def has_ended() -> bool:
        job = server.client.get("/predictions/polled").json()
        seen.add(job["progress"])
        return job["completed_at"] is not None

    wait_until(has_ended)
    job = server.client.get("/predictions/polled").json()
    assert job["status"] == "succeeded" and job["metrics"]["seed"] == 5 and "100 %" in job["logs"]
    assert job["output"][0].endswith(".mp3") and len(Clip.from_uri(job["output"][0]).samples) >= 60 * 32_000
    assert len(seen) > 2 and max(seen) == 1


def test_only_finished_clips_remain(server: Server, song: str) -> None:
    server.make(**SHORT, variations=3)
    server.make(input_audio=song, task="encode-decode", model_version="small")
    wait_until(server.is_idle)
    assert {path.suffix for path in server.files()} <= {".wav", ".mp3", ".flac", ".ogg"}
    assert all(path.parent.name.startswith("request-") for path in server.files())


def test_prompts_are_not_in_the_log(server: Server) -> None:
    server.make(**SHORT | {"prompt": "the secret of the unicorn"})
    server.predict(**SHORT | {"prompt": "the secret of the unicorn", "model_version": "medium"})
    assert "unicorn" not in server.log.read_text()
