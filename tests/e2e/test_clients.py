"""The platform's own Python client, and plain HTTP with a webhook, against each drop-in."""

import io
from pathlib import Path
from typing import Any

import pytest
import soundfile
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from tests.e2e.conftest import Served
from tests.support.harness import Clip, Server, wait_until, webhook
from tests.support.hosted import CogTransport

pytestmark = pytest.mark.slow

RATE = 32_000
REFERENCES = {
    "meta_musicgen": "meta/musicgen:7a76a825",
    "m3maker": "aaronbesson/m3maker:efb8234f",
    "musicgen_custom": "multitrickfox/musicgen_custom",
    "musicgen_looper": "andreasjansson/musicgen-looper:fd5be669",
    "musicgen_remixer": "sakemin/musicgen-remixer:7f15a497",
}
SHORT: dict[str, dict[str, Any]] = {
    "meta_musicgen": {"prompt": "rock", "duration": 1},
    "m3maker": {"prompt": "rock", "duration": 1},
    "musicgen_custom": {"prompt": "rock", "duration": 1},
    "musicgen_looper": {"prompt": "rock", "bpm": 240, "max_duration": 2, "variations": 1},
    "musicgen_remixer": {"prompt": "rock", "music_input": "@song"},
}
"""What each system takes a second for."""


def client(server: Server) -> Client:
    """The client as in its documentation, except for the transport."""
    return Client(api_token="none", transport=CogTransport(str(server.client.base_url)))


def short(system: str, song: str) -> dict[str, Any]:
    """A short request of a system, the same every time."""
    return {name: song if value == "@song" else value for name, value in SHORT[system].items()} | {"seed": 5}


def length(content: bytes) -> int:
    """Samples in an audio file."""
    return int(soundfile.info(io.BytesIO(content)).frames)


def test_the_client_runs_the_model_and_reads_its_files(served: Served, song: str) -> None:
    wait_until(lambda: served.server.status() == "READY")
    output: Any = client(served.server).run(REFERENCES[served.system], input=short(served.system, song))
    if served.system == "musicgen_looper":
        assert list(output) == [f"variation_{number:02d}" for number in range(1, 21)]
        assert [*output.values()][1:] == [None] * 19
        output = output["variation_01"]
    assert output.url.startswith("data:audio/")
    assert length(output.read()) > 0.9 * RATE


def test_the_client_sends_files(served: Served, song_file: Path) -> None:
    if served.system == "musicgen_looper":
        pytest.skip("the looper takes no file")
    wait_until(lambda: served.server.status() == "READY")
    name = "music_input" if served.system == "musicgen_remixer" else "input_audio"
    inputs = {"prompt": "rock", name: song_file} | (
        {} if name == "music_input" else {"duration": 1, "model_version": "melody"}
    )
    output: Any = client(served.server).run(REFERENCES[served.system], input=inputs, file_encoding_strategy="base64")
    assert length(output.read()) >= RATE


def test_client_receives_the_error(served: Served) -> None:
    run = client(served.server).run
    wait_until(lambda: served.server.status() == "READY")
    with pytest.raises(ReplicateError) as refused:
        run(REFERENCES[served.system], input={"prompt": "rock", "output_format": "flac"})
    assert refused.value.status == 422
    wait_until(lambda: served.server.status() == "READY")
    with pytest.raises(ModelError, match="top_k must be a whole number from 0 to 2048, not 5000"):
        run(REFERENCES[served.system], input={"prompt": "rock", "top_k": 5000})


def test_without_the_transport_the_client_finds_no_route(served: Served) -> None:
    bare = Client(api_token="none", base_url=str(served.server.client.base_url))
    with pytest.raises(ReplicateError) as refused:
        bare.run(REFERENCES[served.system], input={"prompt": "rock"})
    assert refused.value.status == 404


def test_an_asynchronous_request_reports_to_its_webhook(served: Served, song: str) -> None:
    wait_until(lambda: served.server.status() == "READY")
    with webhook() as (hook, reports):
        body = {"id": "later", "input": short(served.system, song), **hook}
        accepted = served.server.post(body, Prefer="respond-async")
        assert (accepted.status_code, accepted.json()["id"]) == (202, "later")
        wait_until(lambda: len(reports) > 0)
    [report] = reports
    assert report["status"] == "succeeded", report
    assert report["metrics"]["seed"] == 5
    output = report["output"]
    uri = output["variation_01"] if served.system == "musicgen_looper" else output
    assert length(Clip.from_uri(uri).content) > 0.9 * RATE
