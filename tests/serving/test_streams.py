"""Audio of a prediction while it is made: who hears what, and what becomes of it when nobody listens any more."""

import io
import time

import httpx
import numpy as np
import pytest
import soundfile

from musicgen_service.serving.gateway import Gateway
from tests.serving.streams import EVENTS, HALF, WHOLE, client_of_same, events_of, heard, joined, take, wav
from tests.serving.test_jobs import ended, job, submit
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog
from tests.support.harness import wait_until
from tests.support.sounds import RATE


def test_audio_comes_while_it_is_made(client: httpx.Client, cog: FakeCog) -> None:
    with heard(client, path="/predictions/live/stream") as reply:
        assert reply.status_code == 200
        assert {
            name: reply.headers[name] for name in reply.headers if name not in ("date", "connection", "traceparent")
        } == {
            "content-type": "audio/wav",
            "content-length": str(WHOLE),
            "accept-ranges": "bytes",
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


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-1", 0, 2),
        ("bytes=0-", 0, WHOLE),
        (f"bytes={HALF - 10}-{HALF + 9}", HALF - 10, HALF + 10),
        (f"bytes=100-{WHOLE + 5}", 100, WHOLE),
        ("bytes=-50", WHOLE - 50, WHOLE),
    ],
)
def test_parts_of_audio_of_known_size_are_sent(
    client: httpx.Client, cog: FakeCog, asked: str, start: int, end: int
) -> None:
    """Safari plays nothing of which it does not get the first two bytes by themselves."""
    submit(client, "parts", "music")
    with client.stream("GET", "/predictions/parts/audio", headers={"Range": asked}) as reply:
        assert (reply.status_code, reply.headers["content-range"]) == (206, f"bytes {start}-{end - 1}/{WHOLE}")
        assert reply.headers["content-length"] == str(end - start)
        cog.resume.set()
        assert reply.read() == wav()[start:end]
    ended(client, "parts")


@pytest.mark.parametrize(
    ("asked", "status"),
    [(f"bytes={WHOLE}-", 416), ("bytes=-0", 416), ("bytes=5-2", 200), ("bytes=0-1,4-5", 200), ("x", 200)],
)
def test_other_parts_are_refused_or_all_is_sent(client: httpx.Client, cog: FakeCog, asked: str, status: int) -> None:
    submit(client, "parts", "music")
    with client.stream("GET", "/predictions/parts/audio", headers={"Range": asked}) as reply:
        assert reply.status_code == status
        assert reply.headers.get("content-range") == (f"bytes */{WHOLE}" if status == 416 else None)
    cog.resume.set()
    ended(client, "parts")


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


def test_whoever_has_heard_all_may_go(client: httpx.Client, gateway: Gateway, cog: FakeCog) -> None:
    with heard(client, "unended music", "/predictions/all/stream") as reply:
        assert reply.read() == wav()
    prediction = gateway._predictions.find("127.0.0.1", "all")
    assert prediction is not None
    wait_until(lambda: prediction.recording.listeners == 0)
    cog.resume.set()
    assert ended(client, "all")["status"] == "succeeded" and cog.cancelled == []


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


def test_what_is_heard_after_a_death_begins_with_audio(client: httpx.Client, cog: FakeCog) -> None:
    cog.resume.set()
    reply = client.post("/predictions/stream", json={"input": {"prompt": "late music"}})
    assert cog.prompts == ["late music"] * 2
    assert (reply.status_code, reply.content[:4], len(reply.content)) == (200, b"RIFF", WHOLE)


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


def test_the_head_alone(client: httpx.Client, cog: FakeCog) -> None:
    submit(client, "head", "music")
    reply = client.head("/predictions/head/audio")
    assert (reply.headers["content-type"], reply.headers["content-length"]) == ("audio/wav", str(WHOLE))
    cog.resume.set()
    ended(client, "head")
