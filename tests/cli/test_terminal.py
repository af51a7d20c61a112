"""Behaviour with real terminals, pipes and signals."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.shell import COMMAND, PROJECT, environment

REPORT = """
from musicgen_service.progress import Progress, log
progress = Progress()
for percent in range(0, 101, 5):
    progress.report(percent / 100)
    if percent == 50:
        log("note: half of it")
progress.close()
"""

BATCH_REPORT = """
import time
from musicgen_service.batch.progress import BatchProgress
progress = BatchProgress(2, 8.0)
for failed in (True, False):
    time.sleep(0.2)
    progress.advance(4.0, failed=failed)
progress.close()
"""


def seen_on_a_terminal(*command: str, folder: Path, columns: int) -> str:
    primary, secondary = pty.openpty()
    termios.tcsetwinsize(secondary, (24, columns))
    with subprocess.Popen(
        command, stderr=secondary, stdout=subprocess.DEVNULL, cwd=folder, env=environment()
    ) as process:
        os.close(secondary)
        seen = b""
        with suppress(OSError):  # the program has closed its end
            while block := os.read(primary, 65536):
                seen += block
        assert process.wait(60) == 0
    os.close(primary)
    return seen.decode()


@pytest.mark.parametrize("columns", [0, 60, 200])
def test_terminal_shows_a_progress_bar(columns: int, tmp_path: Path) -> None:
    seen = seen_on_a_terminal(sys.executable, "-c", REPORT, folder=tmp_path, columns=columns)
    # tqdm's own format: "45%|####5     | 45/100 [00:01<00:01, 31.9%/s]"; what is logged has a line of its own.
    assert re.search(r"\r100%\|.*\| 100/100 \[00:\d\d<00:00, .*%/s\]\r\n$", seen)
    assert all(len(line) <= (columns or 80) for line in re.split(r"[\r\n]", seen))
    assert re.search(r"\rnote: half of it\r\n", seen)


def test_terminal_shows_how_far_a_batch_is(tmp_path: Path) -> None:
    seen = seen_on_a_terminal(sys.executable, "-c", BATCH_REPORT, folder=tmp_path, columns=80)
    assert re.search(r"\r 50%\|.*\| 1 of 2, 1 failed \[00:\d\d<00:\d\d, +[\d.]+ s of audio/s\]", seen)
    assert re.search(r"\r100%\|.*\| 2 of 2, 1 failed \[00:0\d<00:00, .*\]\r\n$", seen)


def test_log_contains_progress_lines(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", REPORT], capture_output=True, text=True, env=environment())
    assert done.stderr.splitlines() == [f"{n} %" for n in range(10, 60, 10)] + ["note: half of it"] + [
        f"{n} %" for n in range(60, 110, 10)
    ]


def read_one_line(command: str) -> tuple[int, str, str]:
    """Run a command whose output is closed after one line; returns status, standard error and that line."""
    script = f"set -o pipefail; {' '.join(COMMAND)} {command} | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment())
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("command", ["weights list --json", "predict --help", "--help", "completion bash"])
def test_closed_pipe_is_not_an_error(command: str) -> None:
    # The output is less than a pipe holds, so nobody may notice; written line by line somebody does.
    status, line, complaints = read_one_line(command)
    assert line and complaints == "" and status in (0, 1)


def test_closed_stdout_ends_a_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "weights", "list"], stdout=writing, stderr=subprocess.PIPE, text=True, env=environment()
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_full_disk_at_standard_output_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "weights", "list"], stdout=full, stderr=subprocess.PIPE, text=True, env=environment()
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device.\n")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_prediction_and_leaves_nothing(number: int, status: int, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    variables = {**environment(), "MUSICGEN_WEIGHTS": str(PROJECT / "weights"), "TMPDIR": str(tmp_path)}
    command = [*COMMAND, "predict", "lofi", "--duration", "600", "-o", "new/clip.wav"]
    with subprocess.Popen(
        command, cwd=tmp_path / "here", env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("task text"):
                break
        assert (tmp_path / "here/new").is_dir()
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert process.returncode == status and out == "" and "Traceback" not in err, err
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert list((tmp_path / "here").iterdir()) == []


def test_pipe_receives_only_json(tmp_path: Path) -> None:
    done = subprocess.run([*COMMAND, "weights", "list", "--json"], capture_output=True, text=True, env=environment())
    assert done.stderr == "" and len(json.loads(done.stdout)) > 10
