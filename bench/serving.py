"""Many clients at once: throughput, fairness and pauses of the real server.

    python -m bench.serving

Starts `serve` with the shipped checkpoint and with a random one of a released size, and sends requests over HTTP. Every
figure is a ratio within one run, except the longest pauses: how long running sequences wait for a step while another
one joins with 600 known frames, as every later window of a long clip does.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench import implementations, machine
from bench.speed import RESULTS
from musicgen_service import threads
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.step_loop import StepLoop
from tests.support.harness import PROJECT, Server, serving

import psutil
import torch

CLIENTS = 8
SHORT_SECONDS, LONG_SECONDS = 5, 600
PROMPT_FRAMES = 600
"""Frames of the last window that the next one begins with."""
TARGETS = {
    "demo, at once": (">=", 1.4),
    "demo, beside a long one": ("<=", 2.5),
    "small, at once": (">=", 2.3),
    "small, longest pause in s": ("<=", 0.35),
    "small, longest pause of 7 in s": ("<=", 0.35),
}


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    parser.add_argument("--seconds", type=float, default=5, help="of each clip at once (default %(default)g)")
    parser.add_argument("--turns", type=int, default=2, help="turns of everything over HTTP (default %(default)s)")
    parser.add_argument("--demo", action="store_true", help="only the shipped checkpoint")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    demo = _measure_server("demo", PROJECT / "weights", options.seconds, options.turns)
    figures = {f"demo, {name}": value for name, value in demo.items()}
    if not options.demo:
        with implementations.random_store(options.size, device.type) as store:
            of_size = _measure_server("small", store.root, options.seconds, options.turns)
            engine = implementations.load(store, device).generator
            of_size["longest pause in s"] = longest_pause(engine, device, 1)
            of_size[f"longest pause of {CLIENTS - 1} in s"] = longest_pause(engine, device, CLIENTS - 1)
        figures |= {f"{options.size}, {name}": value for name, value in of_size.items()}
    lines = [
        f"{CLIENTS} clients, clips of {options.seconds:g} s; {machine.describe(device)}",
        f"python -m bench.serving {' '.join(sys.argv[1:])}".strip(),
        "",
    ]
    for name, value in figures.items():
        sign, target = TARGETS.get(name, ("", 0.0))
        lines.append(f"{name:36}{value:8.2f}" + (f"   target {sign} {target}" if sign else ""))
    report = "\n".join([*lines, json.dumps(figures)])
    print(report)
    if options.save:
        name = "serving-demo" if options.demo else "serving"
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{name}-{device.type}.txt").write_text(report + "\n")


def _measure_server(model: str, weights: Path, seconds: float, turns: int) -> dict[str, float]:
    """Measure one server: the gain of clients at once, and what a short request waits beside a long one."""
    settings = {"MUSICGEN_WEIGHTS": str(weights), "MUSICGEN_MODELS": model, "OMP_NUM_THREADS": str(threads.limit())}
    command = ["-m", "musicgen_service", "serve", "--port"]
    with tempfile.TemporaryDirectory() as folder, serving(command, PROJECT, Path(folder, "temp"), **settings) as server:
        _ask(server, model, 1, 0)
        rounds = [(*_gains(server, model, seconds), _slowdown(server, model)) for _ in range(turns)]
    names = ("at once", "at once, in processor time", "beside a long one")
    figures = {name: statistics.median(values) for name, values in zip(names, zip(*rounds, strict=True), strict=True)}
    print(model, figures, file=sys.stderr, flush=True)
    return figures


def _gains(server: Server, model: str, seconds: float) -> tuple[float, float]:
    """Time of requests one after the other as a multiple of their time at once; and the same of processor time."""
    seeds = range(1, CLIENTS + 1)
    before = _processor_time(server)
    alone = _timed(lambda: [_ask(server, model, seconds, seed) for seed in seeds])
    between = _processor_time(server)
    with ThreadPoolExecutor(CLIENTS) as pool:
        together = _timed(lambda: list(pool.map(lambda seed: _ask(server, model, seconds, seed), seeds)))
    return alone / together, (between - before) / (_processor_time(server) - between)


def _processor_time(server: Server) -> float:
    """Seconds that the server's processes have computed; other work on the machine does not count."""
    family = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in family)


def _slowdown(server: Server, model: str, count: int = 4) -> float:
    """Mean time of short requests, one after the other, beside a long one, as a multiple of that without it."""

    def short() -> float:
        return _timed(lambda: [_ask(server, model, SHORT_SECONDS, seed) for seed in range(1, count + 1)])

    alone = short()
    inputs = {"prompt": implementations.TEXT, "model_version": model, "duration": LONG_SECONDS, "seed": 1}
    name = f"long-{time.monotonic_ns()}"
    assert server.post({"id": name, "input": inputs}, Prefer="respond-async").status_code == 202
    beside = short()
    server.client.post(f"/predictions/{name}/cancel")
    return beside / alone


def _ask(server: Server, model: str, seconds: float, seed: int) -> str:
    """Send a request; returns the clip."""
    inputs = {"prompt": implementations.TEXT, "model_version": model, "duration": seconds, "seed": seed}
    [clip] = server.post({"input": inputs}).json()["output"]
    return str(clip)


def longest_pause(engine: Any, device: torch.device, running: int) -> float:
    """Seconds of the longest turn of the loop while a sequence of 600 known frames joins some running ones."""
    assert isinstance(engine, Engine)
    turns: list[float] = []
    take_turn = StepLoop._take_turn

    def timed(loop: StepLoop) -> None:
        turns.append(_timed(lambda: take_turn(loop)))

    def request(frames: int, known: int) -> SlotRequest:
        tokens = torch.randint(0, 2048, (4, known)) if known else None
        generator = torch.Generator(device).manual_seed(0)
        return SlotRequest(Condition(implementations.TEXT), tokens, frames, Sampling(), generator)

    with (
        patch.object(StepLoop, "_take_turn", timed),
        closing(engine.stream([request(1400, 0) for _ in range(running)], lambda *_: None)) as others,
    ):
        next(others)
        while engine.load.running < running:
            next(others)
        turns.clear()
        engine.generate_many([request(PROMPT_FRAMES + 5, PROMPT_FRAMES)], lambda *_: None)
    return max(turns)


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
