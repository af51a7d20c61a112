"""Trainings by HTTP, with a stand-in for the command that trains."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving import training_process
from musicgen_service.serving.gateway import Gateway
from tests.serving.conftest import gateway_of, running
from tests.support import fake_train
from tests.support.fake_cog import fake_cog
from tests.support.harness import PROJECT, wait_until

FINE_TUNER = "sakemin/musicgen-fine-tuner:b1ec6490e57013463006e928abc7acd8d623fe3e8321d3092e1231bf006898b1"
SONGS = "data:application/zip;base64," + base64.b64encode(b"songs").decode()


def weights_with_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with the demo checkpoint, and the stand-in for the command that trains."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "demo").symlink_to(PROJECT / "weights" / "demo")
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(folder))
    monkeypatch.setattr(training_process, "COMMAND", (*training_process.COMMAND[:1], fake_train.__file__))
    return folder


@contextmanager
def training_gateway(results: Path, **options: Any) -> Iterator[Gateway]:
    with (
        fake_cog() as cog,
        running(gateway_of(lambda: cog.server_port, results=results, trainings=True, **options)) as gateway,
    ):
        yield gateway


def calls(folder: Path) -> list[dict[str, Any]]:
    """How the command was called."""
    file = folder / "calls"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def train(client: httpx.Client, name: str = "mine", **inputs: Any) -> dict[str, Any]:
    """Ask for a training on the demo checkpoint."""
    given = {"dataset_path": SONGS, "model_version": "demo"} | inputs
    reply = client.post("/v1/trainings", json={"destination": name, "input": given})
    assert reply.status_code == 201, reply.text
    created: dict[str, Any] = reply.json()
    return created


def ended(client: httpx.Client, training: dict[str, Any]) -> dict[str, Any]:
    """A training once it has ended."""
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        found.update(client.get(f"/v1/trainings/{training['id']}").json())
        return found["status"] not in ("starting", "processing")

    wait_until(has_ended)
    return found
