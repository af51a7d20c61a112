"""A real server that others than its own machine reach: keys, and limits on work that Cog's worker does."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.harness import PROJECT, Server, serving, wait_until

pytestmark = pytest.mark.slow

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1}
LIMITS = {"MUSICGEN_MAX_AUDIO_SECONDS": "5", "MUSICGEN_PREDICTION_SECONDS": "2"}


@dataclass(frozen=True)
class Reached:
    """A server that listens on every address, and a client with a key."""

    server: Server
    client: httpx.Client

    def post(self, **inputs: Any) -> httpx.Response:
        return self.client.post("/predictions", json={"input": SHORT | inputs})


@pytest.fixture(scope="module")
def reached(folder_to_serve: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reached]:
    folder = tmp_path_factory.mktemp("access")
    settings = LIMITS | {"MUSICGEN_API_KEYS_FILE": str(folder / "keys")}
    add = [sys.executable, "-m", "musicgen_service", "keys", "add", "ann"]
    key = subprocess.run(add, cwd=PROJECT, env=settings, capture_output=True, text=True, check=True).stdout.strip()
    settings |= {"MUSICGEN_WEIGHTS": str(folder_to_serve), "MUSICGEN_MODELS": "small"}
    command = ["-m", "musicgen_service", "serve", "--host", "0.0.0.0", "--port"]
    with serving(command, PROJECT, folder / "temp", **settings) as server:
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=server.client.base_url, headers=headers, timeout=server.client.timeout) as client:
            yield Reached(server, client)


def test_a_key_is_needed_from_anywhere(reached: Reached) -> None:
    assert reached.server.post({"input": SHORT}).status_code == 401
    assert reached.post().json()["status"] == "succeeded"
    assert reached.server.client.get("/readyz").status_code == 200
    assert "Bearer" not in reached.server.log.read_text()


def test_a_recording_counts_when_it_has_been_read(reached: Reached, song: str) -> None:
    inputs = {"input_audio": song, "task": "encode-decode"}
    assert reached.post(**inputs, variations=3).json()["status"] == "succeeded"
    reply = reached.post(**inputs, variations=4).json()
    sentence = "The request asks for 6 s of audio, all variations and repetitions together; 5 s are allowed."
    assert (reply["status"], reply["error"]) == ("failed", f"Prediction failed: Invalid request: {sentence}")


def test_a_prediction_that_runs_too_long_ends_in_the_worker_too(reached: Reached) -> None:
    started = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"http://127.0.0.1:{mute.getsockname()[1]}/song.wav"
        reply = reached.post(task="encode-decode", input_audio=address)
    assert (reply.status_code, reply.json()["status"]) == (504, "failed"), reply.text
    assert "was ended after 2 s, the longest that it may run" in reply.json()["error"]
    assert time.monotonic() - started >= 2
    wait_until(lambda: reached.server.status() == "READY")
    assert reached.post().json()["status"] == "succeeded"
