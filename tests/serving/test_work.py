"""How much audio a client may ask for, and how long a prediction may run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from musicgen_service import predictors
from musicgen_service.serving import schema
from musicgen_service.serving.gateway import Gateway
from musicgen_service.serving.refusals import Refusal
from musicgen_service.serving.work import Work
from tests.serving.conftest import client_of, gateway_of, running
from tests.serving.test_predictions import posted
from tests.support.fake_cog import FakeCog, fake_cog
from tests.support.harness import wait_until


@contextmanager
def limited(**options: Any) -> Iterator[tuple[Gateway, FakeCog, httpx.Client]]:
    with (
        fake_cog() as cog,
        running(gateway_of(lambda: cog.server_port, **options)) as gateway,
        client_of(gateway) as client,
    ):
        yield gateway, cog, client


def asking(client: httpx.Client, **inputs: Any) -> httpx.Response:
    return client.post("/predictions", json={"input": {"prompt": "a"} | inputs})


def test_a_request_may_ask_for_so_much_audio(client: httpx.Client, cog: FakeCog) -> None:
    assert asking(client, duration=600, variations=2).status_code == 200
    reply = asking(client, duration=600, variations=20)
    sentence = "duration asks for 12,000 s of audio, all variations and repetitions together; 1,200 s are allowed."
    assert (reply.status_code, reply.json()["error"]) == (422, sentence)
    assert reply.json()["detail"] == [{"loc": ["body", "input", "duration"], "msg": sentence, "type": "value_error"}]
    loop = {"task": "loop", "bpm": 120, "duration": 10}
    assert asking(client, **loop, repeat=60, variations=2).status_code == 200
    assert asking(client, **loop, repeat=60, variations=3).status_code == 422
    assert asking(client, duration=10, repeat=60, variations=3).status_code == 200  # which only loops are
    assert asking(client, duration=60.1, variations=20).status_code == 422
    assert len(cog.requests) == 3


@pytest.mark.parametrize(
    ("system", "inputs", "seconds"),
    [
        (None, {}, 8),
        (None, {"variations": 3}, 24),
        (None, {"duration": 2.5, "variations": 2.0}, 5),
        (None, {"task": "remix", "duration": 8, "variations": 2}, 1200),
        (None, {"task": "encode-decode"}, 900),
        (None, {"task": "encode-decode", "continuation_start": 870}, 30),
        (None, {"task": "repaint", "continuation_start": 4, "continuation_end": 9.5, "variations": 2}, 11),
        (None, {"task": "repaint", "continuation_start": 4, "continuation_end": -1}, 896),
        (None, {"task": "repaint", "continuation_start": 9, "continuation_end": 4}, 0),
        (None, {"task": "remix", "continuation_start": 500, "continuation_end": 900}, 100),
        (None, {"sections": "a 8 s: x; b 4 bars: y", "bpm": 120, "variations": 2}, 32),
        (None, {"sections": "what cannot be read"}, 0),
        (None, {"sections": "a 8 s: " + "x" * 4000}, 0),  # which is refused
        (None, {"sections": "a 8 s: x", "prompt": "x" * 4001}, 0),
        ("musicgen_looper", {}, 32),
        ("musicgen_looper", {"max_duration": 20, "variations": 20}, 400),
        ("musicgen_remixer", {}, 600),
        ("musicgen_custom", {"duration": -5}, 0),
        ("m3maker", {"duration": 30}, 30),
        ("meta_musicgen", {}, 8),
    ],
)
def test_audio_is_counted_in_seconds(system: str | None, inputs: dict[str, Any], seconds: float) -> None:
    assert Work(schema.build(predictors.predictor(system)), 1200).check(inputs) == seconds


def test_a_length_without_bounds_is_bounded() -> None:
    with pytest.raises(Refusal, match="duration asks for 1,000,000,000 s of audio"):
        Work(schema.build(predictors.predictor("musicgen_custom")), 1200).check({"duration": 10**9})


def test_a_client_may_ask_for_so_much_audio_per_minute() -> None:
    with limited(audio_seconds_per_minute=100) as (gateway, cog, client):
        assert asking(client, duration=60).status_code == 200
        reply = asking(client, duration=60)
        assert (reply.status_code, reply.json()["error"]) == (429, "You ask for too much audio: try again later.")
        assert 11 <= int(reply.headers["retry-after"]) <= 12
        assert asking(client, duration=30).status_code == 200
        with client_of(gateway, "127.0.0.2") as other:
            assert asking(other, duration=100).status_code == 200
        assert len(cog.requests) == 3
        wait_until(lambda: not gateway.unfinished and gateway._memory.held == 0)


def test_what_never_started_costs_nothing() -> None:
    with limited(audio_seconds_per_minute=100) as (gateway, cog, client):
        with posted(gateway, client, "wait"):
            for _ in range(5):
                body = {"id": "b", "input": {"prompt": "b", "duration": 80}}
                assert client.post("/predictions", json=body, headers={"Prefer": "respond-async"}).status_code == 202
                assert client.post("/predictions/b/cancel").status_code == 200
                wait_until(lambda: gateway.unfinished == 1)
            cog.resume.set()
        assert cog.prompts == ["wait"]


def test_what_a_recording_turned_out_to_be_counts() -> None:
    with limited(audio_seconds_per_minute=1000) as (gateway, _, client):
        whole = {"task": "encode-decode", "input_audio": "data:audio/wav;base64,AAAA"}
        assert asking(client, prompt="30 seconds", **whole).json()["metrics"]["audio_seconds"] == 30
        wait_until(lambda: not gateway.unfinished)
        assert asking(client, prompt="30 seconds", **whole).status_code == 200
        wait_until(lambda: not gateway.unfinished)
        # Without that report, it was as long as it may be.
        assert [asking(client, **whole).status_code for _ in range(2)] == [200, 429]


def test_a_prediction_that_runs_too_long_is_ended() -> None:
    with limited(prediction_seconds=0.3) as (gateway, cog, client):
        sentence = "The prediction was ended after 0.3 s, the longest that it may run."
        reply = asking(client, prompt="endless")
        assert (reply.status_code, reply.json()["error"]) == (504, sentence)
        wait_until(lambda: not cog.running)
        # A second attempt has what the first one has left.
        assert asking(client, prompt="worker crash").status_code == 504
        # Its time counts from its turn on.
        with posted(gateway, client, "endless", "slow") as replies:
            pass
        assert [reply.status_code for reply in replies] == [504, 504]
        wait_until(lambda: not gateway.unfinished)
        with posted(gateway, client, "endless", "a") as replies:
            pass
        assert [reply.status_code for reply in replies] == [504, 200]
