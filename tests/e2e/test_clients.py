"""The platform's own Python client against one real server, and plain HTTP with a webhook against each drop-in."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from replicate.client import Client
from replicate.exceptions import ModelError, ReplicateError

from musicgen_service import predictors
from tests.e2e.conftest import Served
from tests.support.harness import PROJECT, Clip, Server, serving, wait_until, webhook

pytestmark = pytest.mark.slow

RATE = 32_000
REFERENCES = {
    "meta_musicgen": "meta/musicgen:7a76a8258b23fae65c5a22debb8841d1d7e816b75c2f24218cd2bd8573787906",
    "m3maker": "aaronbesson/m3maker:efb8234f",
    "musicgen_custom": "multitrickfox/musicgen_custom",
    "musicgen_looper": "andreasjansson/musicgen-looper:fd5be669",
    "musicgen_remixer": "sakemin/musicgen-remixer:7f15a497",
    "musicgen_chord": "sakemin/musicgen-chord:64da4f83",
    "musicgen_stereo_chord": "sakemin/musicgen-stereo-chord:fbdc5ef7",
    "musicgen_fine_tuner": "sakemin/musicgen-fine-tuner:b1ec6490",
}
SHORT: dict[str, dict[str, Any]] = {
    "meta_musicgen": {"prompt": "rock", "duration": 1},
    "m3maker": {"prompt": "rock", "duration": 1},
    "musicgen_custom": {"prompt": "rock", "duration": 1},
    "musicgen_looper": {"prompt": "rock", "bpm": 240, "max_duration": 2, "variations": 1},
    "musicgen_remixer": {"prompt": "rock", "music_input": "@song"},
    "musicgen_chord": {"prompt": "rock", "text_chords": "C G", "bpm": 120, "duration": 1},
    "musicgen_stereo_chord": {"prompt": "rock", "text_chords": "C G", "bpm": 120, "duration": 1},
    "musicgen_fine_tuner": {"prompt": "rock", "duration": 1},
}
"""What each system takes a second for."""
SYSTEMS = predictors.names()


@pytest.fixture(scope="module")
def hosting(demo_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that `serve` starts, with the demo checkpoint in place of every model."""
    command = ["-m", "musicgen_service", "serve", "--port"]
    temp = tmp_path_factory.mktemp("hosting") / "temp"
    settings = {"MUSICGEN_WEIGHTS": str(demo_weights), "MUSICGEN_MODELS": "demo", "MUSICGEN_ALLOW_PRIVATE_URLS": "0"}
    with serving(command, PROJECT, temp, **settings) as running:
        yield running


@pytest.fixture
def replicate(hosting: Server) -> Client:
    """The client as in its documentation, except for the address."""
    return Client(api_token="none", base_url=str(hosting.client.base_url))


WITH_AUDIO: dict[str, dict[str, Any]] = {
    "musicgen_remixer": {"music_input": "@song"},
    "musicgen_chord": {"audio_chords": "@song", "duration": 1},
    "musicgen_stereo_chord": {"audio_chords": "@song", "duration": 1},
    "musicgen_fine_tuner": {"input_audio": "@song", "duration": 1},
}
"""Inputs with a file, of the systems that name it otherwise than the rest."""


def short(system: str, song: Any) -> dict[str, Any]:
    """A short request of a system, the same every time."""
    return {name: song if value == "@song" else value for name, value in SHORT[system].items()} | {"seed": 5}


def length(content: bytes) -> int:
    """Samples in an audio file."""
    return int(soundfile.info(io.BytesIO(content)).frames)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_client_runs_the_model_and_reads_its_files(replicate: Client, system: str, song_file: Path) -> None:
    output: Any = replicate.run(REFERENCES[system], input=short(system, song_file))
    if system == "musicgen_looper":
        assert list(output) == [f"variation_{number:02d}" for number in range(1, 21)]
        assert [*output.values()][1:] == [None] * 19
        output = output["variation_01"]
    assert output.url.startswith("data:audio/")
    assert length(output.read()) > 0.9 * RATE


@pytest.mark.parametrize("system", sorted(set(SYSTEMS) - {"musicgen_looper"}))
def test_the_client_uploads_files(replicate: Client, system: str, song_file: Path) -> None:
    inputs = WITH_AUDIO.get(system, {"input_audio": "@song", "duration": 1, "model_version": "melody"})
    sent = {name: song_file if value == "@song" else value for name, value in inputs.items()}
    output: Any = replicate.run(REFERENCES[system], input={"prompt": "rock"} | sent)
    assert length(output.read()) >= RATE


def test_a_result_goes_on_as_an_input(replicate: Client) -> None:
    first = replicate.models.predictions.create("meta/musicgen", {"prompt": "rock", "duration": 1, "seed": 5})
    first.wait()
    inputs = {"prompt": "rock", "input_audio": first.output, "continuation": True, "duration": 1}
    longer = replicate.models.predictions.create("meta/musicgen", inputs)
    longer.wait()
    assert longer.status == "succeeded", longer.error
    # In this model the duration is that of the new music.
    assert [len(Clip.from_uri(made.output).samples) for made in (first, longer) if made.output] == [RATE, 2 * RATE]


def test_the_seed_makes_the_same_clip_as_the_drop_in(replicate: Client, hosting: Server, demo_weights: Path) -> None:
    inputs = {"prompt": "rock", "duration": 1, "seed": 5}
    output: Any = replicate.run("meta/musicgen", input=inputs)
    [same] = hosting.make(**inputs, model_version="demo")
    assert output.read() == same.content


def test_client_receives_the_error(replicate: Client) -> None:
    with pytest.raises(ReplicateError) as refused:
        replicate.run(REFERENCES["meta_musicgen"], input={"prompt": "rock", "output_format": "flac"})
    assert refused.value.status == 422
    with pytest.raises(ModelError, match="top_k must be a whole number from 0 to 2048, not 5000"):
        replicate.run(REFERENCES["meta_musicgen"], input={"prompt": "rock", "top_k": 5000})


def test_a_drop_in_serves_its_own_model_alone(served: Served, song_file: Path) -> None:
    wait_until(lambda: served.server.status() == "READY")
    client = Client(api_token="none", base_url=str(served.server.client.base_url))
    output: Any = client.run(REFERENCES[served.system], input=short(served.system, song_file))
    assert length((output["variation_01"] if served.system == "musicgen_looper" else output).read()) > 0.9 * RATE
    with pytest.raises(ReplicateError) as refused:
        client.run("musicgen-service/musicgen", input={"prompt": "rock"})
    assert refused.value.status == 404 and REFERENCES[served.system].partition(":")[0] in str(refused.value.detail)


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
