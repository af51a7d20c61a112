"""A training from songs to clips through the real server, with the hosted platform's own client; killed and gone on."""

import io
import os
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import soundfile
from replicate.client import Client
from replicate.training import Training

from demo.synth import Synthesiser
from musicgen_service.serving.training_records import INTERRUPTED
from tests.support.harness import PROJECT, Server, serving, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FINE_TUNER = "sakemin/musicgen-fine-tuner:b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1"
QUICK = {"drop_vocals": False, "trigger": "in mine", "kept": 0, "crop": 5, "every": 1, "rank": 4}


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    """A zip of three songs."""
    with zipfile.ZipFile(tmp_path / "songs.zip", "w") as archive:
        for number in range(3):
            content = io.BytesIO()
            soundfile.write(content, Synthesiser().song(number, 6.0, bpm=120, drums=True).audio, 32_000, format="WAV")
            archive.writestr(f"song {number}.wav", content.getvalue())
    return tmp_path / "songs.zip"


@contextmanager
def server_in(folder: Path, name: str, **settings: str) -> Iterator[Server]:
    """The server that `serve` starts; at the same port it has the results of the one before."""
    (folder / "weights").mkdir(exist_ok=True)
    if not (demo := folder / "weights" / "demo").exists():
        demo.symlink_to(PROJECT / "weights" / "demo")
    settings |= {"MUSICGEN_WEIGHTS": str(demo.parent), "MUSICGEN_MODELS": "demo"}
    settings["MUSICGEN_RESULTS"] = str(folder / "results")
    command = ["-m", "musicgen_service", "serve"]
    with serving(command, PROJECT, folder / name, **settings) as running:
        yield running


def client_of(server: Server) -> Client:
    return Client(api_token="none", base_url=str(server.client.base_url))


def ended(training: Training) -> Training:
    def has_ended() -> bool:
        training.reload()
        return training.status not in ("starting", "processing")

    wait_until(has_ended)
    return training


def test_a_training_is_killed_goes_on_and_is_used(songs: Path, tmp_path: Path) -> None:
    inputs: dict[str, Any] = {"dataset_path": songs, "epochs": 1, "updates_per_epoch": 3} | QUICK
    with server_in(tmp_path, "first") as server:
        training = client_of(server).trainings.create(version=FINE_TUNER, input=inputs, destination="me/mine")

        def has_learned() -> bool:
            return (tmp_path / "weights/training/mine/checkpoint.pt").exists()

        wait_until(has_learned)
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
    with server_in(tmp_path, "second", PORT=str(server.client.base_url.port)) as server:
        client = client_of(server)
        killed = client.trainings.get(training.id)
        assert (killed.status, killed.error) == ("failed", INTERRUPTED)
        training = ended(client.trainings.create(version=FINE_TUNER, input=inputs, destination="me/mine"))
        assert training.status == "succeeded", training.error
        assert training.output is not None
        shown = server.client.get(f"/v1/trainings/{training.id}").json()
        assert [song["name"] for song in shown["songs"]["songs"]] == [f"song {number}.wav" for number in range(3)]
        samples = [soundfile.info(io.BytesIO(server.client.get(sample).content)) for sample in shown["samples"]]
        assert samples and all(sample.samplerate == 32_000 for sample in samples)
        assert server.client.get(shown["losses"]).content.startswith(b"\x89PNG")
        archive = zipfile.ZipFile(io.BytesIO(server.client.get(training.output["weights"]).content))
        assert "mine/adapter_model.safetensors" in archive.namelist()
        [adapter] = server.client.get("/models").json()["adapters"]
        assert adapter["name"] == "mine" and adapter["sha256"] == training.output["adapter"]["sha256"]
        clip: dict[str, Any] = {"prompt": "in mine, rock", "duration": 1, "seed": 5}
        [own] = server.make(**clip, adapter="mine")
        [base] = server.make(**clip)
        assert own.content != base.content
        for reference, more in (
            (training.output["version"], {}),
            (FINE_TUNER, {"replicate_weights": training.output["weights"]}),
        ):
            output: Any = client.run(reference, input=clip | more)
            assert soundfile.read(io.BytesIO(output.read()))[0].tolist() == own.samples[:, 0].tolist()
