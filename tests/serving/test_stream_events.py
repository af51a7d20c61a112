"""Events of a prediction that is heard while it is made."""

import base64

import httpx
import pytest

from musicgen_service.serving.gateway import Gateway
from tests.serving.streams import EVENTS, client_of_same, events_of, wav
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog
from tests.support.sounds import RATE


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
