"""A training that is killed at any moment ends in the adapter of one that is not."""

import os
import random
import signal
import subprocess
import time
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
def test_killed_training_ends_in_the_same_adapter(songs_folder: Path, training_store: WeightStore) -> None:
    adapters = AdapterStore.of(training_store)
    started = time.monotonic()
    assert start(songs_folder, training_store, "whole").wait() == 0
    usual = time.monotonic() - started
    chance = random.Random(1)
    kills = 0
    while kills < _KILLS:
        process = start(songs_folder, training_store, "killed")
        time.sleep(chance.uniform(0.2, 1.0) * usual)
        if process.poll() is not None:
            break  # it had gone so far that this one was not killed in time
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        assert adapters.names() == ["whole"] or adapters.get("killed")
    if "killed" not in adapters.names():
        assert start(songs_folder, training_store, "killed").wait() == 0
    assert kills
    assert adapters.get("killed").sha256 == adapters.get("whole").sha256
    assert not [path for path in adapters.root.iterdir() if path.name.startswith(".")]
