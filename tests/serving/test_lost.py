"""Predictions that had not ended when the service was killed: their clients are told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from musicgen_service.serving.models import Models
from musicgen_service.serving.prediction import Prediction
from musicgen_service.serving.prediction_request import PredictionRequest
from musicgen_service.serving.refusals import LOST
from musicgen_service.serving.store import Store
from musicgen_service.serving.unfinished import Unfinished
from tests.serving.supervised import SCRIPT
from tests.support.harness import PROJECT, Server, free_port, serving, wait_until, webhook

pytestmark = pytest.mark.slow

KEEPING = SCRIPT.replace(
    "GatewayOptions()",
    """GatewayOptions(
        Models.load(None, {}), results=pathlib.Path(os.environ["MUSICGEN_RESULTS"]), places=10
    )""",
).replace("import os, sys", "import os, pathlib, sys\nfrom musicgen_service.serving.models import Models")


@contextmanager
def started(folder: Path, port: str) -> Iterator[Server]:
    with serving(["-c", KEEPING, "--port"], PROJECT, folder / "temp", PORT=port) as server:
        yield server


def begin(client: httpx.Client, name: str, **fields: Any) -> None:
    body = {"id": name, "input": {"prompt": "endless"}} | fields
    assert client.post("/predictions", json=body, headers={"Prefer": "respond-async"}).status_code == 202


def test_clients_are_told_after_a_kill(tmp_path: Path) -> None:
    port = str(free_port())
    with webhook() as (hook, reports):
        with started(tmp_path, port) as server:
            begin(server.client, "running", **hook)
            wait_until(lambda: server.client.get("/predictions/running").json()["status"] == "processing")
            begin(server.client, "waiting")
            own = server.client.post("/v1/predictions", json={"version": "meta/musicgen", "input": {}} | hook).json()
            server.process.kill()
            server.process.wait()
        with started(tmp_path, port) as server:
            for name in ("running", "waiting"):
                wait_until(lambda name=name: _status(server, name) == "failed")  # type: ignore[misc]
                job = server.client.get(f"/predictions/{name}").json()
                assert (job["status"], job["error"], job["output"]) == ("failed", LOST, None)
                assert job["created_at"] < job["completed_at"]
            wait_until(lambda: len(reports) == 2)
            hosted = server.client.get(f"/v1/predictions/{own['id']}").json()
            assert (hosted["status"], hosted["error"], hosted["model"]) == ("failed", LOST, "meta/musicgen")
            assert {job["id"] for job in server.client.get("/predictions").json()["results"]} >= {"running", "waiting"}
    assert {report["id"]: report["error"] for report in reports} == {"running": LOST, own["id"]: LOST}
    assert "urls" in next(report for report in reports if report["id"] == own["id"])  # in the form of its route


def _status(server: Server, name: str) -> str:
    return str(server.client.get(f"/predictions/{name}").json()["status"])


def test_what_has_ended_is_not_lost(tmp_path: Path) -> None:
    port = str(free_port())
    with started(tmp_path, port) as server:
        begin(server.client, "done", input={"prompt": "a"})
        wait_until(lambda: server.client.get("/predictions/done").json()["status"] == "succeeded")
        server.process.kill()
        server.process.wait()
    with started(tmp_path, port) as server:
        assert _status(server, "done") == "succeeded"


def test_what_another_process_carries_out_is_not_lost(tmp_path: Path) -> None:
    store, model = Store(tmp_path / "predictions.sqlite"), Models.load(None, {}).own
    first, second = (Unfinished(tmp_path / "running", store) for _ in range(2))
    prediction = Prediction(PredictionRequest("a", {}, None, ("completed",), model), "somebody")
    first.note(prediction)
    assert second.left_behind(model) == first.left_behind(model) == []
    found = store.find("somebody", "a")
    assert found is not None and found["status"] == "starting"  # as it is known to whoever asks the second one
    first.close()
    [left] = second.left_behind(model)
    assert (left.key, left.id, left.owner) == (prediction.key, "a", "somebody")
    store.add(left.key, left.owner, found | {"status": "failed"}, None, 0)
    assert second.left_behind(model) == []
    assert len(list((tmp_path / "running").iterdir())) == 1
    second.close()
    store.close()
