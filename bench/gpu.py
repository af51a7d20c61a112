"""Everything that needs a GPU, one after the other: the tests, the step, its peers, and training.

    make bench-gpu

Each part is a command of its own, so that one that fails costs no other. Takes up to nine minutes; the output is kept
in bench/results, with the machine and every command.
"""

import argparse
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bench.speed import RESULTS

import torch

COMMANDS = (
    "pytest -q tests/gpu",
    "bench.training_steps --size medium --steps 30",
    "bench.training_steps --size large --steps 10",
    "bench.gpu_step --size stereo-melody-large",
    "bench.speed --size medium --frames 60 --turns 2 --steps-only",
    "bench.gpu_step --size large",
    "bench.speed --size large --frames 60 --turns 2 --steps-only",
    "bench.gpu_step --size medium",
    "bench.gpu_step --size small",
    "bench.speed --size small --frames 60 --turns 2 --steps-only",
)
"""In the order of how much is missed without them, as the time may not suffice for all."""
SECONDS = 540


def main() -> None:
    """Run what fits the time, and keep what is printed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for everything (default %(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the output")
    parser.add_argument("parts", nargs="*", metavar="PART", help="only commands that contain one of these")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("this needs a GPU.")
    deadline = time.monotonic() + options.seconds
    options.results.mkdir(parents=True, exist_ok=True)
    with (options.results / f"{datetime.now(UTC):%Y-%m-%d}-gpu.txt").open("a") as file:
        driver = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=True,
        )
        _tell(file, driver.stdout)
        for command in COMMANDS:
            if not options.parts or any(part in command for part in options.parts):
                _run(command, deadline, file)


def _run(command: str, deadline: float, file: TextIO) -> None:
    started = time.monotonic()
    _tell(file, f"\n== python -m {command}\n")
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", *command.split()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=deadline - started,
        )
        _tell(file, done.stdout if done.returncode == 0 else done.stdout + f"\nfailed with status {done.returncode}\n")
    except subprocess.TimeoutExpired as error:
        _tell(file, f"{(error.output or b'').decode()}\nstopped: no time was left\n")
    _tell(file, f"({time.monotonic() - started:.0f} s)\n")


def _tell(file: TextIO, text: str) -> None:
    print(text, end="", flush=True)
    file.write(text)
    file.flush()


if __name__ == "__main__":
    main()
