"""Questions to the worker."""

import asyncio
import json
from pathlib import Path

import pytest

from musicgen_service.models.adapters import AppliedAdapter
from musicgen_service.models.catalogue import DIFFUSION
from musicgen_service.serving import worker_socket
from tests.serving.conftest import client_of, gateway_of, running
from tests.support import stand_in_adapters


def test_each_question_has_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "worker.sock"
    assert asyncio.run(worker_socket.ask(None, "one")) == asyncio.run(worker_socket.ask(path, "one")) == b""
    worker_socket.publish({"one": lambda: b"1", "many": lambda: b"2" * 1_000_000}, path)
    assert asyncio.run(worker_socket.ask(path, "one")) == b"1"
    assert asyncio.run(worker_socket.ask(path, "many")) == b"2" * 1_000_000
    assert asyncio.run(worker_socket.ask(path, "other")) == b""


def test_a_path_that_cannot_be_a_socket_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing" / "worker.sock"
    worker_socket.publish({}, path)
    assert f"the worker's metrics and models are not available: {path} cannot be a socket" in capfd.readouterr().err


@pytest.mark.parametrize("metrics", ["key", "off"])
def test_models_in_memory_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: str) -> None:
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(tmp_path / "weights"))
    used, replaced, _ = (stand_in_adapters.add(tmp_path / "weights", name) for name in ("used", "replaced", "unused"))
    stand_in_adapters.add(tmp_path / "weights", "replaced", content=b"others")
    label = " + ".join(["demo", *(AppliedAdapter(adapter, 0.5).label for adapter in (used, replaced))])
    answers = {"models": lambda: json.dumps(["demo", label, f"{DIFFUSION} for small"]).encode()}
    worker_socket.publish(answers, path := tmp_path / "worker.sock")
    gateway = gateway_of(lambda: None, worker_socket=lambda: path, metrics=metrics)
    with running(gateway), client_of(gateway) as client:
        listed = client.get("/models").json()
    assert {entry["name"] for entry in listed["models"] if entry["loaded"]} == {"demo", DIFFUSION}
    assert {entry["name"]: entry["loaded"] for entry in listed["adapters"]} == {
        **{"replaced": False, "unused": False},
        "used": True,
    }
