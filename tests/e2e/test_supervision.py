"""The real server under its supervisor: a crashed worker, running predictions at shutdown, many concurrent clients."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from musicgen_service.serving import cog_process
from musicgen_service.serving.refusals import BROKE_DOWN
from tests.e2e import soak
from tests.support.harness import PROJECT, Clip, Server, runs, serving, wait_until

pytestmark = pytest.mark.slow

SHORT = {"prompt": "rock", "model_version": "small", "duration": 1, "seed": 5}
LONG = SHORT | {"duration": 600}


@pytest.fixture
def own_server(weights: Path, tmp_path: Path) -> Iterator[Server]:
    """A server for one test, which may break it."""
    command = ["-m", "musicgen_service", "serve", "--port"]
    settings = {"MUSICGEN_WEIGHTS": str(weights), "MUSICGEN_MODELS": "small", "MUSICGEN_DRAIN_SECONDS": "60"}
    with serving(command, PROJECT, tmp_path / "temp", **settings) as running:
        yield running


def test_crashed_worker_is_replaced_and_shutdown_drains(own_server: Server) -> None:
    server = own_server
    [before] = server.make(**SHORT)
    replies: list[httpx.Response] = []
    lasting = SHORT | {"duration": 20}
    thread = threading.Thread(target=lambda: replies.append(server.post({"input": lasting})))
    thread.start()
    wait_until(lambda: server.log.read_text().count("task text") == 2)
    server.worker().kill()
    thread.join()
    assert replies[0].json()["status"] == "succeeded"  # in another worker
    [after] = server.make(**SHORT)
    assert after.content == before.content
    assert "supervisor: the server is UNHEALTHY; starting it again" in server.log.read_text()

    thread = threading.Thread(target=lambda: replies.append(server.post({"input": lasting})))
    thread.start()
    wait_until(lambda: server.log.read_text().count("task text") == 5)
    family = psutil.Process(server.process.pid).children(recursive=True)
    server.process.send_signal(signal.SIGTERM)
    thread.join()
    assert len(Clip.from_uri(replies[1].json()["output"][0]).samples) == 20 * 32_000
    assert server.process.wait(120) == 0
    assert family
    wait_until(lambda: not any(runs(process.pid) for process in family))


def test_who_listens_is_told_when_the_worker_dies(tmp_path: Path) -> None:
    demo = {"MUSICGEN_WEIGHTS": str(PROJECT / "weights"), "MUSICGEN_MODELS": "demo"}
    inputs = {"prompt": "solo piano", "model_version": "demo", "duration": 300}
    with serving(["-m", "musicgen_service", "serve", "--port"], PROJECT, tmp_path / "temp", **demo) as server:
        with server.client.stream("POST", "/predictions/stream", json={"id": "heard", "input": inputs}) as reply:
            pieces = reply.iter_raw()
            assert next(pieces)[:4] == b"RIFF"
            server.worker().kill()
            with pytest.raises(httpx.RemoteProtocolError):
                list(pieces)
        wait_until(lambda: server.client.get("/predictions/heard").json()["status"] == "failed")
        assert server.client.get("/predictions/heard").json()["error"] == BROKE_DOWN
        assert server.make(**inputs | {"duration": 1})  # in another worker

        events = {"Accept": "text/event-stream"}
        with server.client.stream("POST", "/predictions/stream", json={"input": inputs}, headers=events) as reply:
            lines = reply.iter_lines()
            assert "event: audio" in lines
            server.worker().kill()
            assert "event: error" in lines
            assert json.loads(next(lines).removeprefix("data: "))["error"] == BROKE_DOWN
        assert server.make(**inputs | {"duration": 1})


def test_weights_added_after_the_start_are_found(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    command = ["-m", "musicgen_service", "serve", "--port"]
    settings = {"MUSICGEN_WEIGHTS": str(folder), "MUSICGEN_MODELS": "small"}
    with serving(command, PROJECT, tmp_path / "temp", status="SETUP_FAILED", **settings) as server:
        assert "'small' is not in the weights folder" in server.client.get("/health-check").json()["setup"]["logs"]
        for path in weights.iterdir():
            (folder / path.name).symlink_to(path)
        assert server.make(**SHORT)
        assert "supervisor: the server is SETUP_FAILED; starting it again in 1 s" in server.log.read_text()


def test_concurrent_clients_get_their_own_clips(server: Server) -> None:
    outcome = soak.soak(server, count=30, clients=4, seed=1, warm_up=20, trains=False)
    # Thirty predictions say nothing about memory; `make soak` does.
    assert [problem for problem in outcome.problems() if not problem.startswith("memory")] == []
    # Whoever hangs up may do so when all has been made.
    assert outcome.counts["succeeded"] + outcome.counts["canceled"] == 24
    assert (outcome.counts["invalid"], outcome.counts["failed"]) == (3, 3)


IMPATIENT = """
import os, sys
from musicgen_service.serving import cog_process, cog_server, prediction
cog_process.STUCK_AFTER = 3.0
keys = iter((f"long-{os.getpid()}", f"lost-{os.getpid()}"))
made = prediction.Prediction.__init__
def named(self, *arguments, **options):
    made(self, *arguments, **options)
    self.key = next(keys, self.key)
prediction.Prediction.__init__ = named
cog_server.serve("127.0.0.1", int(sys.argv[2]))
"""


def test_lost_slot_is_distinguished_from_a_long_prediction(weights: Path, tmp_path: Path) -> None:
    settings = {"MUSICGEN_WEIGHTS": str(weights), "MUSICGEN_MODELS": "small", "MUSICGEN_SLOTS": "1"}
    with serving(["-c", IMPATIENT, "--port"], PROJECT, tmp_path / "temp", **settings) as server:
        assert server.post({"id": "long", "input": LONG}, Prefer="respond-async").status_code == 202
        worker = server.worker()
        time.sleep(9)  # three times as long as nothing may take
        assert server.status() == "BUSY" and runs(worker.pid)
        server.client.post("/predictions/long/cancel")
        wait_until(lambda: server.status() == "READY")
        assert runs(worker.pid) and "starting it again" not in server.log.read_text()

        # Cog cannot make the prediction's folder, and does not get over it.
        obstacle = cog_process.COG_FOLDER / f"lost-{server.process.pid}"
        obstacle.touch()
        try:
            assert server.post({"input": SHORT}).json()["status"] == "failed"
        finally:
            obstacle.unlink()
        assert server.status() == "BUSY"
        assert server.make(**SHORT)
        assert not runs(worker.pid)
        assert "supervisor: the server is busy without a prediction; starting it again" in server.log.read_text()


def test_killed_supervisor_ends_all_processes(own_server: Server) -> None:
    family = psutil.Process(own_server.process.pid).children(recursive=True)
    assert own_server.worker() in family
    own_server.process.kill()
    own_server.process.wait()
    wait_until(lambda: not any(runs(process.pid) for process in family))


def test_killed_server_ends_its_worker(own_server: Server) -> None:
    worker = own_server.worker()
    worker.parent().kill()  # type: ignore[union-attr]
    wait_until(lambda: not runs(worker.pid))
    assert own_server.make(**SHORT)


def test_restored_temporary_folder_is_used_after_a_restart(own_server: Server) -> None:
    server = own_server
    shutil.rmtree(server.temp)
    reply = server.post({"input": SHORT})
    assert reply.status_code == 503 and reply.json()["error"].startswith("The service's temporary folder is gone")
    server.worker().kill()
    wait_until(lambda: "reason" in server.client.get("/health-check").json())
    server.temp.mkdir()
    assert server.make(**SHORT)
