"""The supervisor with a fake Cog server: restarts, backoff, draining and log messages."""

import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from musicgen_service.serving import cog_process
from tests.support.harness import PROJECT, Server, runs, serving, wait_until
from tests.test_folders import disk, fill

SCRIPT = """
import os, sys
from musicgen_service.serving import cog_process, supervisor
from musicgen_service.serving.gateway_options import GatewayOptions
cog_process.POLL_INTERVAL = cog_process.MIN_BACKOFF = 0.05
supervisor.CANCEL_TIMEOUT = 0.5
environment = os.environ | {"PYTHONPATH": os.getcwd()}
command = [sys.executable, "-P", os.path.abspath("tests/support/fake_cog.py")]
process = cog_process.CogProcess(command, environment, lambda folder: None)
supervisor.Supervisor(("127.0.0.1", int(sys.argv[2])), process, 3.0, GatewayOptions()).run()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(["-c", SCRIPT, "--port"], PROJECT, tmp_path / "temp") as running:
        yield running


def say(server: Server, word: str, **headers: str) -> httpx.Response:
    return server.client.post("/predictions", json={"input": {"prompt": word}}, headers=headers)


def is_served(server: Server) -> bool:
    return bool(say(server, "hello").json().get("status") == "succeeded")


def pid(server: Server) -> int:
    return int(server.client.get("/health-check").json()["pid"])


def family(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def log_of(server: Server) -> str:
    return server.log.read_text()


def test_crashed_server_is_restarted(server: Server) -> None:
    assert say(server, "crash").status_code == 502  # when it has crashed twice
    wait_until(lambda: server.status() == "READY")
    assert is_served(server)
    assert "supervisor: the server ended with status 3; starting it again in 0.05 s" in log_of(server)
    assert "musicgen_worker_restarts_total 2.0" in server.client.get("/metrics").text
    assert not runs(int(log_of(server).partition("left behind: ")[2].split()[0]))


def test_prediction_survives_a_crash(tmp_path: Path) -> None:
    with serving(["-c", SCRIPT, "--port"], PROJECT, tmp_path / "temp", CRASHED=str(tmp_path / "crashed")) as server:
        reply = say(server, "crash once").json()
        assert reply["status"] == "succeeded", reply
        assert "supervisor: the server ended with status 3; starting it again in 0.05 s" in log_of(server)


def test_unhealthy_server_is_restarted(server: Server) -> None:
    before = pid(server)
    say(server, "unhealthy")
    wait_until(lambda: server.status() == "READY")
    assert pid(server) != before and not psutil.pid_exists(before)
    assert "supervisor: the server is UNHEALTHY; starting it again" in log_of(server)


LOSING = ["-c", SCRIPT.replace("command =", "cog_process.STUCK_AFTER = 0.5\ncommand ="), "--port"]


def test_server_busy_without_a_prediction_is_restarted(tmp_path: Path) -> None:
    with serving(LOSING, PROJECT, tmp_path / "temp") as server:
        before = pid(server)
        say(server, "stuck")
        assert server.status() == "BUSY"
        wait_until(lambda: server.status() == "READY")
        assert pid(server) != before
        assert "supervisor: the server is busy without a prediction; starting it again" in log_of(server)


@pytest.mark.parametrize("asynchronous", [True, False])
def test_long_prediction_does_not_cause_a_restart(asynchronous: bool, tmp_path: Path) -> None:
    with serving(LOSING, PROJECT, tmp_path / "temp") as server, ExitStack() as waiting:
        if asynchronous:
            assert say(server, "endless", Prefer="respond-async").status_code == 202
        else:
            body = b'{"input":{"prompt":"endless"}}'
            request = b"POST /predictions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
            url = server.client.base_url
            waiting.enter_context(socket.create_connection((url.host, url.port or 0))).sendall(request)
        wait_until(lambda: server.status() == "BUSY")
        before = pid(server)
        time.sleep(2)  # four times as long as nothing may take
        assert (pid(server), server.status()) == (before, "BUSY")


def test_lost_slot_does_not_delay_shutdown(server: Server) -> None:
    say(server, "stuck")
    assert server.stop() == 0
    assert "cancelling" not in log_of(server)


def test_each_backoff_is_longer(server: Server) -> None:
    for waits in (("0.05", "0.1"), ("0.2", "0.4")):
        wait_until(lambda: server.status() == "READY")
        say(server, "crash")  # which is tried twice
        wait_until(lambda waits=waits: all(f"again in {wait} s" in log_of(server) for wait in waits))  # type: ignore[misc]


def test_failed_setup_is_retried_until_weights_appear(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    # A setup may take long before it fails: that is no service, so the waits get longer all the same.
    command = ["-c", SCRIPT.replace("command =", "cog_process.STABLE_AFTER = 0\ncommand ="), "--port"]
    with serving(command, PROJECT, tmp_path / "temp", status="SETUP_FAILED", WEIGHTS=str(weights)) as server:
        for wait in ("0.05", "0.1", "0.2", "0.4"):
            sentence = f"supervisor: the server is SETUP_FAILED; starting it again in {wait} s"
            wait_until(lambda sentence=sentence: sentence in log_of(server))  # type: ignore[misc]
        # Until then it goes on to say what is wrong.
        assert server.status() == "SETUP_FAILED"
        health = server.client.get("/health-check").json()
        assert health["reason"] == "weights is empty." and "WeightsError: /srv/weights" in health["setup"]["logs"]
        reply = say(server, "hello")
        sentence = "The service could not be started and will be tried again: weights is empty."
        assert (reply.status_code, reply.json()["error"]) == (503, sentence)
        assert reply.headers["Retry-After"]
        weights.touch()
        wait_until(lambda: server.status() == "READY")
        assert is_served(server)
        assert "reason" not in server.client.get("/health-check").json()


def test_failure_reason_stays_during_a_retry(tmp_path: Path) -> None:
    # The server that is tried next takes long to answer.
    slow = SCRIPT.replace(
        '"-P", os.path.abspath("tests/support/fake_cog.py")',
        """"-c",
        "import os, runpy, time; time.sleep(2); os.chdir(os.environ['PYTHONPATH']);"
        "runpy.run_path('tests/support/fake_cog.py', run_name='__main__')" """,
    )
    weights = str(tmp_path / "weights")
    with serving(["-c", slow, "--port"], PROJECT, tmp_path / "temp", status="SETUP_FAILED", WEIGHTS=weights) as server:
        wait_until(lambda: server.status() == "STARTING")
        assert server.client.get("/health-check").json() == {"status": "STARTING", "reason": "weights is empty."}
        assert "weights is empty." in say(server, "hello").json()["error"]


def test_backoff_doubles_up_to_a_minute() -> None:
    waits = [0.0]
    for _ in range(9):
        waits.append(cog_process.next_backoff(waits[-1]))
    assert waits[1:] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_shutdown_waits_for_a_prediction(server: Server) -> None:
    replies: list[httpx.Response] = []
    children = family(server)
    thread = threading.Thread(target=lambda: replies.append(say(server, "slow")))
    thread.start()
    wait_until(lambda: server.status() == "BUSY")
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.status() == "DRAINING")
    assert say(server, "more").status_code == 503
    thread.join()
    assert replies[0].json()["status"] == "succeeded"
    assert server.process.wait(60) == 0
    assert "predictions have 3 s to finish" in log_of(server) and "cancelling" not in log_of(server)
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


def test_waiting_predictions_are_finished_before_the_end(server: Server) -> None:
    replies: list[httpx.Response] = []
    threads = [threading.Thread(target=lambda: replies.append(say(server, "slow"))) for _ in "ab"]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join()
    assert [reply.json()["status"] for reply in replies] == ["succeeded"] * 2
    assert server.process.wait(60) == 0


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


def test_client_limit_follows_the_descriptor_limit(tmp_path: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n" + SCRIPT
    with serving(["-c", limited, "--port"], PROJECT, tmp_path / "temp") as server, ExitStack() as open_ones:
        before, host, port = pid(server), server.client.base_url.host, server.client.base_url.port or 0
        for _ in range(60):
            open_ones.enter_context(socket.create_connection((host, port)))
        time.sleep(3)
        open_ones.close()
        wait_until(lambda: _answers(server))
        assert pid(server) == before and "starting it again" not in log_of(server)


def _answers(server: Server) -> bool:
    try:
        return server.status() == "READY"
    except httpx.TransportError:
        return False


def test_restored_temporary_folder_is_used_again(server: Server, tmp_path: Path) -> None:
    shutil.rmtree(server.temp)
    sentence = "The service's temporary folder is gone: try again when it is back."
    reply = say(server, "hello")
    assert (reply.status_code, reply.json()["error"]) == (503, sentence)
    server_process = family(server)[-1]
    server_process.kill()
    wait_until(lambda: server.client.get("/health-check").json() == {"status": "STARTING", "reason": sentence})
    assert sentence in say(server, "hello").json()["error"]
    server.temp.mkdir()
    wait_until(lambda: server.status() == "READY")
    assert is_served(server)


def test_full_disk_is_reported_until_there_is_space(tmp_path: Path) -> None:
    with disk(tmp_path / "disk", "size=1m") as temp, serving(["-c", SCRIPT, "--port"], PROJECT, temp) as server:
        large = fill(temp)
        reply = say(server, "hello")
        sentence = "The service has no room left to write files: try again later."
        assert (reply.status_code, reply.json()["error"]) == (503, sentence)
        before = pid(server)
        family(server)[-1].kill()
        wait_until(lambda: server.status() == "READY" and pid(server) != before)
        assert say(server, "hello").json()["error"] == sentence
        large.unlink()
        assert is_served(server)


def test_full_disk_under_cogs_folder_is_reported_in_advance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with disk(tmp_path / "disk", "size=1m") as full:
        for folder in (full, full / "coglet" / "predictions"):
            monkeypatch.setattr(cog_process, "COG_FOLDER", folder)
            assert cog_process.folder_problem() is None
        fill(full)
        assert cog_process.folder_problem() == "The service has no room left to write files: try again later."
    (tmp_path / "file").touch()
    monkeypatch.setattr(cog_process, "COG_FOLDER", tmp_path / "file" / "predictions")
    assert cog_process.folder_problem() == "The service may not write to its temporary folder."


def test_idle_server_stops_immediately(server: Server) -> None:
    assert server.stop() == 0
    assert "supervisor: stopped" in log_of(server)
