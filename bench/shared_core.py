"""Time per step while another process uses one of the cores.

    python -m bench.shared_core --size small

Our engine decodes a random checkpoint of a released size, alone and alongside a busy loop pinned to one core; both
with threads that sleep while they wait, as in the service, and with threads that spin, OpenMP's default. Every run is a
separate process, as OpenMP reads its settings when torch is loaded; the runs alternate.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench import implementations, machine
from bench.implementations import Implementations
from bench.race import ms_per_step
from bench.speed import RESULTS
from musicgen_service import threads
from musicgen_service.models.store import WeightStore

import torch

POLICIES = {"sleeping": threads.WAIT_POLICY, "spinning": {"OMP_WAIT_POLICY": "", "GOMP_SPINCOUNT": "300000"}}
"""Wait policies of threads; the second is libgomp's default."""
LIMIT = 2.5
"""Maximum factor by which a step of the service may slow down alongside the busy loop."""


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    parser.add_argument("--frames", type=int, default=40, help="frames per run (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="runs of every case (default %(default)s)")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device("cpu")
    torch.set_num_threads(threads.limit())
    if options.weights:
        loaded = Implementations(WeightStore(options.weights), "small", device, options.frames)
        print(ms_per_step(loaded.load("ours exact").generate, None, options.frames, device))
        return
    steps = _measure(options.size, options.frames, options.turns)
    command = f"python -m bench.shared_core {' '.join(sys.argv[1:])}".strip()
    report = _table(steps, f"{options.size}, exact, batch 1, guidance 3; {machine.describe(device)}\n{command}")
    print(report)
    if options.save:
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-shared-core-{options.size}.txt").write_text(report + "\n")


def _measure(size: str, frames: int, turns: int) -> dict[str, list[float]]:
    """Milliseconds per step of every case, a figure for each turn."""
    steps: dict[str, list[float]] = {}
    with implementations.random_store(size) as store:
        for turn in range(turns):
            for policy, environment in POLICIES.items():
                steps.setdefault(f"{policy}, alone", []).append(_step(store, frames, environment))
                with _busy_loop():
                    steps.setdefault(f"{policy}, shared", []).append(_step(store, frames, environment))
            print(f"turn {turn + 1} of {turns}: {json.dumps(steps)}", file=sys.stderr, flush=True)
    return steps


def _step(store: WeightStore, frames: int, environment: dict[str, str]) -> float:
    command = [sys.executable, "-W", "ignore", "-m", "bench.shared_core"]
    command += ["--weights", str(store.root), "--frames", str(frames)]
    done = subprocess.run(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


@contextmanager
def _busy_loop() -> Iterator[None]:
    """Run another process that keeps one of our cores busy."""
    core = max(os.sched_getaffinity(0))
    loop = f"import os; os.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", loop]) as process:
        try:
            yield
        finally:
            process.kill()


def _table(steps: dict[str, list[float]], heading: str) -> str:
    lines = [
        heading,
        "",
        f"{'threads':12}{'alone':>14}{'shared core':>14}{'slower by':>12}   (ms/step, the least of all turns)",
    ]
    for policy in POLICIES:
        alone, shared = (min(steps[f"{policy}, {case}"]) for case in ("alone", "shared"))
        lines.append(f"{policy:12}{alone:14.1f}{shared:14.1f}{shared / alone:11.2f}x")
    lines.append(f"allowed of threads that sleep: {LIMIT}x")
    return "\n".join([*lines, json.dumps(steps)])


if __name__ == "__main__":
    main()
