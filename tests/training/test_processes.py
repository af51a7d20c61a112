"""Several processes that train together: two on CPUs, with gloo between them."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from musicgen_service.models.adapters import AdapterStore
from musicgen_service.models.store import WeightStore
from musicgen_service.training import layout
from tests.support.harness import free_port, wait_until
from tests.support.shell import COMMAND, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

# In three clips, of which two processes have two and one.
OPTIONS = "--base small --steps 4 --every 4 --crop 5 --rank 4 --rate 1e-3 --patience 100 --batch 3 --kept 0".split()


def start(count: int, name: str, songs: Path, store: WeightStore, *more: str) -> "subprocess.Popen[bytes]":
    """A training in so many processes."""
    together = [sys.executable, "-m", "torch.distributed.run", f"--nproc_per_node={count}"]
    together.append(f"--master_port={free_port()}")
    program = [*together, *COMMAND[1:]] if count > 1 else COMMAND
    command = [*program, "train", str(songs), "--name", name, "--trigger", "in style", "--json", *OPTIONS, *more]
    surroundings = {**environment(), "MUSICGEN_WEIGHTS": str(store.root), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def kill(process: "subprocess.Popen[bytes]") -> None:
    """Kill what was started, each of which has a session of its own."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.kill()
    psutil.wait_procs(family)
    process.communicate()


def finished(process: "subprocess.Popen[bytes]") -> list[dict[str, Any]]:
    """What a training has said that succeeded."""
    output, log = process.communicate()
    assert process.returncode == 0, log.decode()[-2000:]
    return [json.loads(line) for line in output.splitlines()]


def losses(folder: Path) -> list[float]:
    with (folder / "losses.csv").open() as file:
        return [float(value) for row in csv.DictReader(file) for value in (row["loss"], row["held_out_loss"]) if value]


def test_two_processes_train_the_adapter_of_one(songs_folder: Path, training_store: WeightStore) -> None:
    adapters = AdapterStore.of(training_store)
    finished(start(1, "one", songs_folder, training_store))
    stopped = start(2, "two", songs_folder, training_store)
    checkpoint = layout.work_folder(training_store, "two") / "checkpoint.pt"
    wait_until(checkpoint.exists)
    kill(stopped)
    # It goes on in two again, and one of them writes.
    events = finished(start(2, "two", songs_folder, training_store))
    assert [event["adapter"]["name"] for event in events if "adapter" in event] == ["two"]
    assert len([event for event in events if "songs" in event]) == 1
    one, two = (adapters.get(name).folder for name in ("one", "two"))
    np.testing.assert_allclose(losses(two), losses(one), rtol=1e-3)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
    difference = sum(float(np.square(ours[name].astype(float) - theirs[name]).sum()) for name in ours)
    trained = sum(float(np.square(ours[name].astype(float)).sum()) for name in ours if "lora_B" in name)
    assert trained > 0 and difference < 1e-2 * trained
