"""Child processes: complete input and output, and killed with their children when the request is cancelled."""

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


def test_complete_input_and_output() -> None:
    data = bytes(range(256)) * 4000
    done = child.run(["sh", "-c", "cat; echo told >&2; exit 3"], memoryview(data))
    assert (done.stdout, done.stderr, done.returncode) == (data, b"told\n", 3)


def test_slow_reader_gets_all_of_its_input() -> None:
    data = bytes(10**6)
    assert child.run(["sh", "-c", "sleep 0.3; wc -c"], memoryview(data)).stdout.strip() == b"1000000"


def test_unread_input_is_not_an_error() -> None:
    assert child.run(["true"], memoryview(bytes(10**6))).returncode == 0


def test_missing_program_raises() -> None:
    with pytest.raises(FileNotFoundError):
        child.run(["no such program"], NOTHING)


def test_cancel_kills_the_process_and_its_children(tmp_path: Path) -> None:
    started, number = threading.Event(), tmp_path / "grandchild"

    def watch() -> None:
        wait_until(lambda: number.exists() and number.read_text().endswith("\n"))
        started.set()

    threading.Thread(target=watch).start()
    command = ["sh", "-c", f"sleep 100 & echo $! > {number}; wait"]
    assert isinstance(cancelled_when(started, lambda: child.run(command, NOTHING)), Cancelled)
    grandchild = int(number.read_text())
    wait_until(lambda: not psutil.pid_exists(grandchild) or psutil.Process(grandchild).status() == "zombie")


def test_process_that_starts_after_the_cancel_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
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
