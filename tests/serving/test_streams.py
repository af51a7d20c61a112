"""Audio of a prediction while it is made: who hears what, and what becomes of it when nobody listens any more."""

import base64
import io
import json
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

from musicgen_service.audio import streamed
from musicgen_service.serving.bodies import Memory
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_jobs import ended, job, submit
from tests.serving.test_predictions import posted
from tests.support.fake_audio import music
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until
from tests.support.sounds import RATE

EVENTS = {"Accept": "text/event-stream"}
HALF = 44 + 2 * RATE
"""Bytes of the first second, and of the header before it."""
WHOLE = HALF + 2 * RATE


def wav(prompt: str = "music") -> bytes:
    """What is heard of a prompt."""
    half = music(prompt)
    encoder = streamed.encoder("wav", 2 * half.shape[1], RATE, 1)
    return encoder.encode(half) + encoder.encode(half)


@contextmanager
def heard(client: httpx.Client, prompt: str = "music", path: str = "/predictions/stream") -> Iterator[httpx.Response]:
    with client.stream("POST", path, json={"input": {"prompt": prompt}}) as reply:
        yield reply


@contextmanager
def joined(client: httpx.Client, name: str) -> Iterator[httpx.Response]:
    with client.stream("GET", f"/predictions/{name}/audio") as reply:
        yield reply


def events_of(reply: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    assert reply.headers["content-type"] == "text/event-stream"
    name = ""
    for line in reply.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        if field == "data":
            yield name, json.loads(value)


def take(parts: Iterator[bytes], size: int) -> bytes:
    """The first bytes of a reply, as soon as they are there."""
    received = b""
    while len(received) < size:
        received += next(parts)
    return received


def test_audio_comes_while_it_is_made(client: httpx.Client, cog: FakeCog) -> None:
    with heard(client, path="/predictions/live/stream") as reply:
        assert reply.status_code == 200
        assert {
            name: reply.headers[name] for name in reply.headers if name not in ("date", "connection", "traceparent")
        } == {
            "content-type": "audio/wav",
            "content-length": str(WHOLE),
            "cache-control": "no-store",
            "x-accel-buffering": "no",
            "x-prediction-id": "live",
            "x-audio-level": "not normalised",
            "x-audio-seconds": "2",
            "x-real-time-factor": "2.5",
        }
        parts = reply.iter_raw()
        received = take(parts, HALF)
        assert job(client, "live")["status"] == "processing"
        cog.resume.set()
        received += b"".join(parts)
    assert received == wav()
    found = ended(client, "live")
    assert found["status"] == "succeeded" and found["output"][0].startswith(f"{client.base_url}/files/")
    assert cog.requests[0]["context"].keys() == {"audio_ticket", "audio_required", "traceparent"}


def test_mp3_has_no_length(client: httpx.Client, cog: FakeCog) -> None:
    cog.resume.set()
    with heard(client, "mp3") as reply:
        assert reply.headers["content-type"] == "audio/mpeg" and "content-length" not in reply.headers
        content = reply.read()
    samples, rate = soundfile.read(io.BytesIO(content))
    assert rate == RATE and 2 * RATE <= len(samples) < 2.2 * RATE and np.abs(samples).max() > 0.1


def test_an_id_is_found_in_the_headers(client: httpx.Client, cog: FakeCog) -> None:
    cog.resume.set()
    with heard(client) as reply:
        reply.read()
    assert ended(client, reply.headers["x-prediction-id"])["status"] == "succeeded"


def test_a_context_of_a_client_is_not_passed_on(client: httpx.Client, cog: FakeCog) -> None:
    cog.resume.set()
    body = {"input": {"prompt": "music"}, "context": {"audio_ticket": "0" * 32, "x": "y"}}
    assert client.post("/predictions/stream", json=body).content == wav()
    assert cog.requests[0]["context"]["audio_ticket"] != "0" * 32 and "x" not in cog.requests[0]["context"]


def test_listeners_join_from_the_beginning_and_leave(
    client: httpx.Client, stranger: httpx.Client, cog: FakeCog
) -> None:
    submit(client, "radio", "music")
    wait_until(lambda: bool(cog.requests))
    with client_of_same(client) as other, joined(client, "radio") as first, joined(other, "radio") as second:
        assert first.headers["x-prediction-id"] == "radio"
        assert [take(reply.iter_raw(), HALF) for reply in (first, second)] == [wav()[:HALF]] * 2
    assert job(client, "radio")["status"] == "processing" and cog.cancelled == []
    assert stranger.get("/predictions/radio/audio").status_code == 404
    cog.resume.set()
    assert client.get("/predictions/radio/audio").content in (wav(), b"music")
    ended(client, "radio")
    file = client.get("/predictions/radio/audio")
    assert (file.content, file.headers["content-type"]) == (b"music", "audio/wav")
    part = client.get("/predictions/radio/audio", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.content) == (206, b"us")


@contextmanager
def client_of_same(client: httpx.Client) -> Iterator[httpx.Client]:
    """Another connection of the same client."""
    with httpx.Client(base_url=client.base_url, timeout=60) as other:
        yield other


def test_a_hang_up_cancels_what_was_asked_for_to_be_heard(client: httpx.Client, cog: FakeCog) -> None:
    with heard(client, path="/predictions/left/stream") as reply:
        take(reply.iter_raw(), HALF)
    wait_until(lambda: job(client, "left")["status"] == "canceled")
    assert len(cog.cancelled) == 1
    with (
        heard(client, path="/predictions/kept/stream") as reply,
        client_of_same(client) as other,
        joined(other, "kept") as audio,
    ):
        reply.close()
        time.sleep(0.1)
        cog.resume.set()
        assert audio.read() == wav()
    assert ended(client, "kept")["status"] == "succeeded"


def test_a_hang_up_before_its_turn_costs_nothing(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with posted(gateway, client, "wait"):
        with pytest.raises(httpx.ReadTimeout):
            client.post("/predictions/waiting/stream", json={"input": {"prompt": "music"}}, timeout=0.3)
        wait_until(lambda: job(client, "waiting")["status"] == "canceled")
        cog.resume.set()
    assert cog.prompts == ["wait"]


def test_the_same_id_again_is_joined(client: httpx.Client, cog: FakeCog) -> None:
    with heard(client, path="/predictions/twice/stream") as reply, client_of_same(client) as other:
        assert take(parts := reply.iter_raw(), HALF) == wav()[:HALF]
        with heard(other, path="/predictions/twice/stream") as again:
            cog.resume.set()
            assert again.read() == wav() == wav()[:HALF] + b"".join(parts)
    assert cog.prompts == ["music"]


def test_a_slow_listener_holds_nobody_up(client: httpx.Client, cog: FakeCog, gateway: Gateway) -> None:
    whole = wav("long music")
    with heard(client, "long music", "/predictions/slow/stream") as slow, client_of_same(client) as other:
        parts = slow.iter_raw(1024)
        next(parts)  # and no more: seven megabytes are on their way
        with joined(other, "slow") as fast:
            cog.resume.set()
            assert fast.read() == whole
        assert ended(other, "slow")["status"] == "succeeded"
        assert len(b"".join(parts)) == len(whole) - 1024


def test_a_death_of_the_worker_cuts_the_response_and_is_not_tried_again(client: httpx.Client, cog: FakeCog) -> None:
    with pytest.raises(httpx.RemoteProtocolError), heard(client, "broken music", "/predictions/cut/stream") as reply:
        reply.read()
    found = ended(client, "cut")
    assert (found["status"], found["error"]) == (
        "failed",
        "The service broke down in this request: try again in a moment.",
    )
    assert cog.prompts == ["broken music"]
    broken = client.get("/predictions/cut/audio")
    assert (broken.status_code, broken.json()["error"]) == (502, found["error"])


def test_a_death_before_any_audio_costs_one_attempt(client: httpx.Client, cog: FakeCog) -> None:
    reply = client.post("/predictions/again/stream", json={"input": {"prompt": "worker crash"}})
    assert reply.status_code == 200 and reply.content == b"worker crash"  # its file: nothing was heard
    assert cog.prompts.count("worker crash") == 3


@pytest.mark.parametrize(
    ("prompt", "status", "sentence"), [("fail", 502, "Prediction failed: x"), ("quiet", 200, "quiet")]
)
def test_what_cannot_be_heard_has_a_status(
    client: httpx.Client, cog: FakeCog, prompt: str, status: int, sentence: str
) -> None:
    reply = client.post("/predictions/stream", json={"input": {"prompt": prompt}})
    assert reply.status_code == status and sentence in reply.text


@pytest.mark.parametrize("task", ["loop", "remix", "encode-decode"])
def test_tasks_say_why_not_before_they_wait(client: httpx.Client, cog: FakeCog, task: str) -> None:
    reply = client.post("/predictions/stream", json={"input": {"task": task}})
    assert reply.status_code == 422 and reply.json()["error"].startswith(f"Task '{task}' cannot be streamed: ")
    assert cog.requests == []


def test_a_loop_is_heard_when_it_has_ended(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "beats", "loop")
    reply = client.get("/predictions/beats/audio")
    sentence = "Task 'loop' cannot be streamed. Its file will be here when it has ended."
    assert (reply.status_code, reply.json()["error"]) == (409, sentence)
    with client.stream("GET", "/predictions/beats/audio", headers=EVENTS) as events:
        found = events_of(events)
        while (event := next(found)) != ("format", {"refusal": "Task 'loop' cannot be streamed."}):
            assert event[0] == "progress"
        cog.resume.set()
        assert [name for name, _ in found][-1] == "completed"
    assert client.get("/predictions/beats/audio").content == b"loop"


def test_refusals_are_those_of_predictions(client: httpx.Client, cog: FakeCog) -> None:
    for body, status in [({"input": {"seed": "x"}}, 422), ({"inputs": {}}, 422), ([], 422)]:
        assert client.post("/predictions/stream", json=body).status_code == status
    assert client.post("/predictions/../x/stream", json={"input": {}}).status_code in (404, 405, 422)
    assert client.post("/predictions/-x/stream", json={"input": {}}).status_code == 422
    assert client.get("/predictions/nobody/audio").status_code == 404
    assert client.get("/predictions/stream").status_code == 404  # a prediction of that name
    assert cog.requests == []


def test_events_tell_everything(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with posted(gateway, client, "wait"), client_of_same(client) as own:
        body = {"input": {"prompt": "music"}}
        with own.stream("POST", "/predictions/told/stream", json=body, headers=EVENTS) as reply:
            events = events_of(reply)
            name, place = next(events)
            assert name == "queue" and place["position"] == 0 and "eta_seconds" in place
            cog.resume.set()
            told = list(events)
    assert {name for name, _ in told} == {"progress", "format", "audio", "completed"}
    content = dict(told)
    assert content["format"] == {
        "media_type": "audio/wav",
        "sample_rate": RATE,
        "channels": 1,
        "seconds": 2.0,
        "real_time_factor": 2.5,
        "level": "not normalised",
    }
    audio = b"".join(base64.b64decode(data["base64"]) for name, data in told if name == "audio")
    assert audio == wav()
    name, last = told[-1]
    assert name == "completed" and last["status"] == "succeeded" and last["id"] == "told"
    assert httpx.get(last["output"][0]).content == b"music"
    with client.stream("GET", "/predictions/told/audio", headers=EVENTS) as reply:
        assert [name for name, _ in events_of(reply)] == ["completed"]


@pytest.mark.parametrize("prompt", ["fail", "broken music"])
def test_a_failure_is_the_last_event(client: httpx.Client, cog: FakeCog, prompt: str) -> None:
    body = {"id": f"event-{prompt.split()[0]}", "input": {"prompt": prompt}}
    with client.stream("POST", "/predictions/stream", json=body, headers=EVENTS) as reply:
        name, last = list(events_of(reply))[-1]
    assert (name, last["status"]) == ("error", "failed") and last["error"]


def test_a_cancel_is_an_event(client: httpx.Client, cog: FakeCog) -> None:
    with client.stream(
        "POST", "/predictions/stopped/stream", json={"input": {"prompt": "music"}}, headers=EVENTS
    ) as reply:
        events = events_of(reply)
        while next(events)[0] != "audio":
            pass
        with client_of_same(client) as other:
            assert other.post("/predictions/stopped/cancel").status_code == 200
        name, last = list(events)[-1]
    assert (name, last["status"]) == ("completed", "canceled")
    assert client.get("/predictions/stopped/audio").status_code == 409


def test_the_head_alone(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "head", "music")
    reply = client.head("/predictions/head/audio")
    assert (reply.headers["content-type"], reply.headers["content-length"]) == ("audio/wav", str(WHOLE))
    cog.resume.set()
    ended(client, "head")


def test_the_socket_is_private_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 120)  # longer than the address of a socket may be
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with fake_cog() as cog:
        gateway = gateway_of(lambda: cog.server_port, results=tmp_path / "results")
        cog.audio_socket = gateway.audio_socket
        cog.resume.set()
        with running(gateway), client_of(gateway) as client:
            assert stat.S_IMODE(gateway.audio_socket.parent.stat().st_mode) == 0o700
            with heard(client) as reply:
                assert reply.read() == wav()
                files = [path for path in gateway.audio_socket.parent.iterdir() if not path.name.startswith(".")]
                assert files == [gateway.audio_socket]
    assert list(deep.iterdir()) == []


def test_a_wrong_ticket_is_not_listened_to(gateway: Gateway, client: httpx.Client, cog: FakeCog) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(gateway.audio_socket))
        connection.sendall(b"0" * 32)
        assert connection.recv(1) == b""


def test_a_full_disk_ends_the_audio_alone(
    client: httpx.Client, gateway: Gateway, cog: FakeCog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway._audio, "_space", Memory(HALF))
    cog.resume.set()
    with pytest.raises(httpx.RemoteProtocolError), heard(client, path="/predictions/full/stream") as reply:
        reply.read()
    assert ended(client, "full")["status"] == "succeeded"


def test_recordings_are_given_up(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    cog.resume.set()
    with heard(client) as reply:
        reply.read()
    wait_until(lambda: not gateway.unfinished and not gateway._audio._space.held)
