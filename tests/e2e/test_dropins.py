"""Recorded requests of the systems (tests/data/requests), posted to each drop-in."""

import json
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import predictors
from musicgen_service.serving import schema, training_schema
from tests.e2e.conftest import Served
from tests.support.harness import Clip, wait_until

pytestmark = pytest.mark.slow

FOLDER = Path("tests/data/requests")
RATE = 32_000
MP3_TOLERANCE = 0.06
"""Seconds: a coded file may hold up to two frames more."""


def recorded(system: str) -> list[dict[str, Any]]:
    """A system's recorded requests, each with the expected form of the response."""
    requests: list[dict[str, Any]] = json.loads((FOLDER / f"{system}.json").read_text())
    return requests


@pytest.mark.parametrize("system", predictors.names())
def test_ten_requests_of_each_kind_are_recorded(system: str) -> None:
    assert len(recorded(system)) == 10
    assert {request["kind"] for request in recorded(system)} == {"typical", "edge", "invalid"}


def test_the_server_publishes_the_systems_schema(served: Served) -> None:
    published = schema.build(predictors.predictor(served.system))
    shown = served.server.client.get("/openapi.json").json()
    if served.system == "musicgen_fine_tuner":
        published = training_schema.added_to(published)
    assert shown["info"] == published["info"]
    assert all(operations.items() <= shown["paths"][path].items() for path, operations in published["paths"].items())
    assert published["components"]["schemas"].items() <= shown["components"]["schemas"].items()


@pytest.mark.parametrize("number", range(10))
def test_a_recorded_request_has_the_recorded_reply(served: Served, number: int, song: str) -> None:
    request = recorded(served.system)[number]
    expected = request["reply"]
    inputs = {name: song if value == "@song" else value for name, value in request["input"].items()}
    wait_until(lambda: served.server.status() == "READY")
    response = served.server.post({"input": inputs})
    assert response.status_code == expected["status"], (request["name"], response.text[:500])
    if response.status_code == 422:
        [detail] = response.json()["detail"]
        assert (detail["loc"], detail["msg"]) == (["body", "input", expected["field"]], expected["message"])
    elif expected["output"] is None:
        assert response.json()["status"] == "failed"
        assert expected["message"] in response.json()["error"]
    else:
        assert response.json()["status"] == "succeeded", (request["name"], response.json()["error"])
        check_output(response.json()["output"], expected)


def test_what_a_system_makes_is_heard_unless_it_must_be_complete(served: Served, song: str) -> None:
    recordings = [request for request in recorded(served.system) if request["reply"].get("output")]
    inputs = {name: song if value == "@song" else value for name, value in recordings[0]["input"].items()}
    reply = served.server.client.post("/predictions/stream", json={"input": inputs})
    if served.system in ("musicgen_looper", "musicgen_remixer"):
        assert reply.status_code == 422 and " cannot be streamed: a " in reply.json()["error"]
    else:
        assert reply.status_code == 200 and reply.headers["content-type"] in ("audio/wav", "audio/mpeg")
        assert len(reply.content) > 100_000


def check_output(output: Any, expected: dict[str, Any]) -> None:
    """Whether a prediction's output has the recorded shape, and its files the recorded length and channels."""
    if expected["output"] == "file":
        check_file(Clip.from_uri(output), expected, expected["seconds"])
        return
    assert list(output) == [f"variation_{number:02d}" for number in range(1, 21)]
    made = [uri for uri in output.values() if uri is not None]
    assert [*output.values()] == made + [None] * (20 - len(made))
    assert len(made) == expected["variations"]
    clips = [Clip.from_uri(uri) for uri in made]
    beats = round(len(clips[0].samples) / clips[0].rate * expected["bpm"] / 60)
    seconds = beats * 60 / expected["bpm"]
    assert 0 < seconds <= expected["at_most"]
    bars = beats // 3 if beats % 3 == 0 else beats  # the music decides whether a bar has three beats
    assert bars & (bars - 1) == 0, f"{beats} beats are neither a power of two nor three times one"
    for clip in clips:
        check_file(clip, expected, seconds)


def check_file(clip: Clip, expected: dict[str, Any], seconds: float) -> None:
    """Whether a file has the recorded length and channels; a wav to the sample."""
    assert (clip.mime, clip.channels, clip.rate) == (expected["mime"], expected["channels"], RATE)
    tolerance = 0 if "wav" in clip.mime else MP3_TOLERANCE * RATE
    assert abs(len(clip.samples) - round(seconds * RATE)) <= tolerance
    assert abs(clip.samples).max() > 0.01
