"""Fixtures: a scripted server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from musicgen_service.finished_clip import FinishedClip
from tests.batch.scripted import Handler, Script
from tests.support.harness import http_server
from tests.support.sounds import RATE, tone


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Script]:
    recipe = {"prompt": "rock", "task": "text", "model_version": "small", "seed": 7}
    FinishedClip(tone(0.5), RATE, 7, recipe).save(tmp_path / "clip.wav")
    script = Script(clip=(tmp_path / "clip.wav").read_bytes())
    with http_server(type("Scripted", (Handler,), {"script": script})) as address:
        script.address = address
        yield script
