"""The supervisor with a fake Cog server: restarts, backoff and log messages."""

import socket
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from musicgen_service.serving import cog_process
from tests.serving.supervised import SCRIPT, is_served, log_of, pid, say
from tests.support.harness import PROJECT, Server, runs, serving, wait_until

pytestmark = pytest.mark.slow


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
        for wait in ("0.05", "0.1", "0.2"):
            sentence = f"supervisor: the server is SETUP_FAILED; starting it again in {wait} s"
            wait_until(lambda sentence=sentence: sentence in log_of(server))  # type: ignore[misc]
        # Until then it goes on to say what is wrong.
        health: dict[str, Any] = {}

        def has_failed() -> bool:
            health.update(server.client.get("/health-check").json())
            return health["status"] == "SETUP_FAILED"

        wait_until(has_failed)
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
