"""Child processes: fed and read whole, and ended with their children when the request is cancelled."""

import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from musicgen_service.audio import child
from tests.support.cancelling import Cancelled, cancelled_when
from tests.support.harness import TIMEOUT, wait_until

NOTHING = memoryview(b"")


def test_all_of_the_input_goes_in_and_all_of_the_output_comes_out() -> None:
    data = bytes(range(256)) * 4000
    done = child.run(["sh", "-c", "cat; echo told >&2; exit 3"], memoryview(data))
    assert (done.stdout, done.stderr, done.returncode) == (data, b"told\n", 3)


def test_a_command_that_is_slow_to_read_gets_all_of_its_input() -> None:
    data = bytes(10**6)
    assert child.run(["sh", "-c", "sleep 0.3; wc -c"], memoryview(data)).stdout.strip() == b"1000000"


def test_a_command_that_does_not_read_its_input_is_no_error() -> None:
    assert child.run(["true"], memoryview(bytes(10**6))).returncode == 0


def test_a_command_that_cannot_be_started_is_told() -> None:
    with pytest.raises(FileNotFoundError):
        child.run(["no such program"], NOTHING)


def test_a_cancel_ends_the_process_and_all_that_it_has_started(tmp_path: Path) -> None:
    started, number = threading.Event(), tmp_path / "grandchild"

    def watch() -> None:
        wait_until(lambda: number.exists() and number.read_text().endswith("\n"))
        started.set()

    threading.Thread(target=watch).start()
    command = ["sh", "-c", f"sleep 100 & echo $! > {number}; wait"]
    assert isinstance(cancelled_when(started, lambda: child.run(command, NOTHING)), Cancelled)
    grandchild = int(number.read_text())
    wait_until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_a_process_that_starts_after_the_cancel_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    reached, started = threading.Event(), []

    class Slow(subprocess.Popen):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            reached.set()
            time.sleep(0.3)
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Slow)
    begun = time.monotonic()
    assert isinstance(cancelled_when(reached, lambda: child.run(["sleep", "100"], NOTHING)), Cancelled)
    assert [process.returncode for process in started] == [-9]
    assert time.monotonic() - begun < TIMEOUT
