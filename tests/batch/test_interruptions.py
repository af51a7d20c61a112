"""Batches that end early: by a signal, or killed at any moment."""

import asyncio
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import predictors
from musicgen_service.batch.local import LocalClient
from musicgen_service.serving.cog_runner import ServiceRunner
from tests.support.batches import SHORT, batch, files, records, write_list
from tests.support.harness import wait_until
from tests.support.shell import COMMAND, environment

PROMPTS = [f"song {number}" for number in range(60)]


@pytest.fixture
def folder(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files, and a list of 60 short clips in the current one."""
    monkeypatch.chdir(tmp_path)
    write_list(*({"prompt": prompt} for prompt in PROMPTS))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("MUSICGEN_WEIGHTS", str(weights))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@contextmanager
def running(*arguments: str, out: str = "out") -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "batch", "list.jsonl", out, *SHORT, *arguments]
    # As a terminal starts it: a shell's background commands ignore SIGINT.
    with subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def made(out: str = "out") -> int:
    """Number of lines that the manifest has so far."""
    return Path(out, "manifest.jsonl").read_bytes().count(b"\n") if Path(out, "manifest.jsonl").exists() else 0


def run_to_the_end(out: str = "out") -> None:
    with running(out=out) as process:
        _, errors = process.communicate()
    assert process.returncode == 0, errors


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_signal_ends_a_batch_cleanly(folder: Path, number: int, status: int) -> None:
    with running() as process:
        wait_until(lambda: made() > 3)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == status, errors
    listed = [clip["file"] for record in records() for clip in record["clips"]]
    assert sorted(files()) == sorted(listed) and 3 < len(listed) < len(PROMPTS)  # nothing half there, nothing unlisted
    assert f"stopped after {len(listed)} of 60: the same command goes on from there" in errors
    assert "Traceback" not in errors
    assert [path for path in (folder / "temporary").rglob("*") if path.is_file()] == []


def test_a_batch_that_is_stopped_does_not_wait_for_its_model(monkeypatch: pytest.MonkeyPatch) -> None:
    is_loading, may_end = threading.Event(), threading.Event()

    def load(*_: object) -> None:
        is_loading.set()
        may_end.wait(10)

    monkeypatch.setattr(ServiceRunner, "start", load)

    async def stop() -> None:
        entering = asyncio.create_task(LocalClient(predictors.load(None), "small", None).__aenter__())
        while not is_loading.is_set():
            await asyncio.sleep(0.01)
        assert not entering.done()
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    asyncio.run(stop())
    may_end.set()


def test_a_request_that_ends_as_it_is_cancelled_leaves_no_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    carry_out = ServiceRunner.carry_out

    def made_and_lost(*arguments: Any) -> list[Path]:
        carry_out(*arguments)
        raise MemoryError  # as a cancel is raised, wherever the thread is

    monkeypatch.setattr(ServiceRunner, "carry_out", made_and_lost)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "temporary"))
    with pytest.raises(SystemExit, match="not enough memory"):
        batch()
    assert [path for path in (folder / "temporary").rglob("*") if path.is_file()] == []


@pytest.mark.slow
def test_a_batch_that_is_killed_at_random_moments_is_that_of_one_run(folder: Path) -> None:
    run_to_the_end("whole")
    chance = random.Random(22)
    for _ in range(20):
        # Few at a time, and a clip or two in each run: there must be some left for the last one.
        with running("--at-once", "2") as process:
            more = made() + chance.randint(0, 2)
            wait_until(lambda more=more: made() >= more)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.2))
            assert process.poll() is None, "it was made before it was killed"
            process.kill()
    assert made() < len(PROMPTS)
    run_to_the_end()
    assert files() == files("whole")
    times = Counter(record["name"] for record in records())
    assert len(times) == len(PROMPTS) and set(times.values()) == {1}  # none is missing, and none is made twice
