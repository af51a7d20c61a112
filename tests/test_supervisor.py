"""The supervisor with a server in Cog's place: restarts, back-off, draining, and what it says of them."""

import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from musicgen_service import supervisor
from tests.e2e.harness import PROJECT, Server, runs, serving, wait_until

SCRIPT = """
import os, sys
from musicgen_service import supervisor
supervisor.GLANCE = supervisor.BACK_OFF_FIRST = 0.05
supervisor.GIVING_UP = 0.5
command = [sys.executable, "-m", "tests.fake_cog"]
supervisor.Supervisor(("127.0.0.1", int(sys.argv[2])), command, os.environ, 2.0).run()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(["-c", SCRIPT, "--port"], PROJECT, tmp_path / "temp") as running:
        yield running


def say(server: Server, word: str, **headers: str) -> httpx.Response:
    return server.client.post("/predictions", content=word.encode(), headers=headers)


def pid(server: Server) -> int:
    return int(server.client.get("/health-check").json()["pid"])


def family(server: Server) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children(recursive=True)


def told(server: Server) -> str:
    return server.log.read_text()


def test_a_dead_server_is_started_again(server: Server) -> None:
    assert say(server, "die").status_code == 502
    wait_until(lambda: server.status() == "READY")
    assert say(server, "hello").json() == {"word": "hello"}
    assert "supervisor: the server ended with status 3; starting it again in 0.05 s" in told(server)
    assert not runs(int(told(server).partition("left behind: ")[2].split()[0]))


def test_an_unhealthy_server_is_started_again(server: Server) -> None:
    before = pid(server)
    say(server, "ill")
    wait_until(lambda: server.status() == "READY")
    assert pid(server) != before and not psutil.pid_exists(before)
    assert "supervisor: the server is UNHEALTHY; starting it again" in told(server)


def test_each_wait_is_longer(server: Server) -> None:
    for wait in ("0.05", "0.1", "0.2", "0.4"):
        wait_until(lambda: server.status() == "READY")
        say(server, "die")
        wait_until(lambda wait=wait: f"again in {wait} s" in told(server))  # type: ignore[misc]


def test_a_setup_that_failed_is_tried_again_until_its_weights_appear(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    # A setup may take long before it fails: that is no service, so the waits get longer all the same.
    command = ["-c", SCRIPT.replace("command =", "supervisor.STEADY = 0\ncommand ="), "--port"]
    with serving(command, PROJECT, tmp_path / "temp", status="SETUP_FAILED", WEIGHTS=str(weights)) as server:
        for wait in ("0.05", "0.1", "0.2", "0.4", "0.8", "1.6", "3.2"):
            sentence = f"supervisor: the server is SETUP_FAILED; starting it again in {wait} s"
            wait_until(lambda sentence=sentence: sentence in told(server))  # type: ignore[misc]
        # Until then it goes on to say what is wrong.
        assert server.status() == "SETUP_FAILED"
        weights.touch()
        wait_until(lambda: server.status() == "READY")
        assert say(server, "hello").json() == {"word": "hello"}


def test_waits_double_up_to_a_minute() -> None:
    waits = [0.0]
    for _ in range(9):
        waits.append(supervisor.longer(waits[-1]))
    assert waits[1:] == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_told_to_end_it_lets_a_prediction_finish(server: Server) -> None:
    replies: list[httpx.Response] = []
    children = family(server)
    thread = threading.Thread(target=lambda: replies.append(say(server, "slow")))
    thread.start()
    wait_until(lambda: server.status() == "BUSY")
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: server.status() == "DRAINING")
    assert say(server, "more").status_code == 503
    thread.join()
    assert replies[0].json() == {"word": "slow"}
    assert server.process.wait(60) == 0
    assert "predictions have 2 s to finish" in told(server) and "giving up" not in told(server)
    assert children and not any(child.is_running() for child in children)


def test_what_does_not_finish_in_time_is_given_up_and_says_so(server: Server) -> None:
    replies: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: replies.append(say(server, "endless")))
    thread.start()
    wait_until(lambda: server.status() == "BUSY")
    server.process.send_signal(signal.SIGTERM)
    thread.join()
    assert replies[0].status_code == 503 and "gave this prediction up" in replies[0].json()["error"]
    assert server.process.wait(60) == 0
    assert "supervisor: giving up what still runs" in told(server)


def test_an_asynchronous_prediction_that_does_not_finish_is_cancelled(server: Server) -> None:
    assert say(server, "later", Prefer="respond-async").status_code == 202
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(60) == 0
    assert "cancelled /predictions/later/cancel" in told(server)


def test_an_idle_server_ends_at_once(server: Server) -> None:
    assert server.stop() == 0
    assert "supervisor: ended" in told(server)
