"""A training that is killed at any moment ends in the adapter of one that is not."""

import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.store import WeightStore
from tests.support.shell import COMMAND, environment

_KILLS = 10
_OPTIONS = "--base small --steps 24 --every 2 --crop 5 --rate 1e-3 --patience 100".split()


def start(songs: Path, store: WeightStore, name: str) -> subprocess.Popen[bytes]:
    command = [*COMMAND, "train", str(songs), "--name", name, "--trigger", "in style", *_OPTIONS]
    surroundings = {**environment(), "MUSICGEN_WEIGHTS": str(store.root)}
    return subprocess.Popen(command, env=surroundings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_trainings_end_in_the_same_adapter(songs_folder: Path, training_store: WeightStore) -> None:
    adapters = AdapterStore.of(training_store)
    started = time.monotonic()
    assert start(songs_folder, training_store, "whole").wait() == 0
    usual = time.monotonic() - started
    chance = random.Random(1)
    kills, finished = 0, 0
    while kills < _KILLS or not finished:
        name = f"killed{finished}"
        process = start(songs_folder, training_store, name)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0.0, 1.0) * usual if kills < _KILLS else None)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
        else:
            assert process.returncode == 0
        if name in adapters.names():
            # It had gone so far that its adapter was there before it was killed: the next kills are for another one.
            assert adapters.get(name).sha256 == adapters.get("whole").sha256
            finished += 1
        assert all(adapters.get(listed) for listed in adapters.names())
    assert not [path for path in adapters.root.iterdir() if path.name.startswith(".")]
