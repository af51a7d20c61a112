"""How a service ends, when it is told to and when a part of it is killed: with a fake Cog server."""

import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.serving.supervised import SCRIPT, family, log_of, say
from tests.support.harness import PROJECT, Server, runs, serving, wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def resumed(tmp_path: Path) -> Iterator[Server]:
    """A service whose predictions end when the file `resume` is there, for which it has a minute."""
    command = ["-c", SCRIPT.replace("process, 3.0,", "process, 60.0,"), "--port"]
    with serving(command, PROJECT, tmp_path / "temp", RESUME=str(tmp_path / "resume")) as server:
        yield server


def test_lost_slot_does_not_delay_shutdown(server: Server) -> None:
    say(server, "stuck")
    assert server.stop() == 0
    assert "cancelling" not in log_of(server)


def test_shutdown_waits_for_a_prediction(resumed: Server, tmp_path: Path) -> None:
    children = family(resumed)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(say, resumed, "wait")
        wait_until(lambda: resumed.status() == "BUSY")
        resumed.process.send_signal(signal.SIGTERM)
        wait_until(lambda: resumed.status() == "DRAINING")
        assert say(resumed, "more").status_code == 503
        (tmp_path / "resume").touch()
        assert reply.result().json()["status"] == "succeeded"
    assert resumed.process.wait(60) == 0
    assert "predictions have 60 s to finish" in log_of(resumed) and "cancelling" not in log_of(resumed)
    assert children and not any(child.is_running() for child in children)


def test_prediction_is_cancelled_at_the_drain_deadline(server: Server) -> None:
    replies: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: replies.append(say(server, "endless")))
    thread.start()
    wait_until(lambda: server.status() == "BUSY")
    server.process.send_signal(signal.SIGTERM)
    thread.join()
    assert replies[0].status_code == 503 and "gave this prediction up" in replies[0].json()["error"]
    assert server.process.wait(60) == 0
    assert "supervisor: cancelling the predictions that still run" in log_of(server)


def test_asynchronous_prediction_is_cancelled_at_the_deadline(server: Server) -> None:
    assert say(server, "endless", Prefer="respond-async").status_code == 202
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "supervisor: cancelling the predictions that still run" in log_of(server)


def test_waiting_predictions_are_finished_before_the_end(resumed: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        replies = [pool.submit(say, resumed, "wait") for _ in "ab"]
        wait_until(lambda: "musicgen_queue_length 1.0" in resumed.client.get("/metrics").text)
        resumed.process.send_signal(signal.SIGTERM)
        wait_until(lambda: resumed.status() == "DRAINING")
        (tmp_path / "resume").touch()
        assert [reply.result().json()["status"] for reply in replies] == ["succeeded"] * 2
    assert resumed.process.wait(60) == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGQUIT, signal.SIGABRT])
def test_supervisor_crash_ends_all_processes(server: Server, number: signal.Signals) -> None:
    say(server, "spawn")
    children = family(server)
    assert len(children) == 4  # the launcher, its guard, the server and its worker
    server.process.send_signal(number)
    assert server.process.wait(60) == -number
    wait_until(lambda: not any(runs(child.pid) for child in children))


def test_server_crash_ends_its_worker(server: Server) -> None:
    say(server, "spawn")
    *_, cog, worker = family(server)
    cog.kill()
    wait_until(lambda: not runs(worker.pid))
    wait_until(lambda: server.status() == "READY")
    assert "supervisor: the server ended with status 137" in log_of(server)


def test_launcher_crash_ends_the_server(server: Server) -> None:
    say(server, "spawn")
    launcher, *others = family(server)
    launcher.kill()
    wait_until(lambda: not any(runs(child.pid) for child in others))
    wait_until(lambda: server.status() == "READY")


def test_crash_of_launcher_and_supervisor_ends_all_processes(server: Server) -> None:
    say(server, "spawn")
    children = family(server)
    server.process.send_signal(signal.SIGSTOP)  # so that it does not notice that the launcher is gone
    children[0].kill()
    server.process.kill()
    wait_until(lambda: not any(runs(child.pid) for child in children))


def test_closed_terminal_stops_the_service(server: Server) -> None:
    children = family(server)
    server.process.send_signal(signal.SIGHUP)
    assert server.process.wait(60) == 0
    assert "supervisor: stopped" in log_of(server) and not any(runs(child.pid) for child in children)


def test_nohup_keeps_the_service_running(tmp_path: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + SCRIPT
    with serving(["-c", ignoring, "--port"], PROJECT, tmp_path / "temp") as server:
        server.process.send_signal(signal.SIGHUP)
        time.sleep(1)
        assert server.status() == "READY"


def test_idle_server_stops_immediately(server: Server) -> None:
    assert server.stop() == 0
    assert "supervisor: stopped" in log_of(server)
