"""How fast tokens are made: our engine, audiocraft's own loop and transformers' MusicGen in one run, in turns.

    python -m bench.speed --size small

Every contestant decodes the same random checkpoint of a released size, batch 1 with guidance 3, sampling
from the 250 likeliest. Then the memory of each is taken in a process of its own, and whole requests are made with the
shipped checkpoint, unless `--steps-only` leaves both out. Prints a table for people and, as its last line, the same
figures as JSON.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench import end_to_end, implementations, machine
from bench.implementations import Run
from musicgen_service.engine.engine import MAX_SLOTS, Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

import torch

RESULTS = Path(__file__).parent / "results"
WARM_UP = 5
FRAME_RATE = 50
FIRST_PIECE = 50
"""Frames of sound that a listener waits for: one second."""
EARLY, LATE = 50, 1400
"""Frames between which the growth of a step is told."""
LATER = 300
"""Where slots are measured again: keys and values, which slots cannot share, have grown."""


def main() -> None:
    """Race, print, and keep the result where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    parser.add_argument("--frames", type=int, default=60, help="frames per turn (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="turns of every contestant (default %(default)s)")
    parser.add_argument("--steps-only", action="store_true", help="neither memory nor whole requests")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    parser.add_argument("--alone", nargs=2, metavar=("NAME", "WEIGHTS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.alone:
        name, weights = options.alone
        print(_memory(name, WeightStore(Path(weights)), device))
        return
    with implementations.random_store(options.size, device.type) as store:
        figures = _race(store, device, options.frames, options.turns)
        figures |= _engine_alone(store, device, options.frames)
        if not options.steps_only:
            figures["memory_gb"] = {name: _memory_alone(name, store) for name in figures["ms_per_step"]}
    if not options.steps_only:
        figures["whole_requests"] = end_to_end.measure()
    command = f"python -m bench.speed {' '.join(sys.argv[1:])}".strip()
    figures |= {"size": options.size, "machine": machine.describe(device), "command": command}
    report = f"{_table(figures)}\n{json.dumps(figures)}"
    print(report)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{options.size}-{device.type}.txt").write_text(report + "\n")


def _race(store: WeightStore, device: torch.device, frames: int, turns: int) -> dict[str, Any]:
    """Milliseconds per step of everyone, the median of turns that alternate."""
    entered = {name: implementations.enter(name, store, device) for name in implementations.names(device)}
    times: dict[str, list[float]] = {name: [] for name in entered}
    for turn in range(turns):
        for name, run in entered.items():
            times[name].append(ms_per_step(run, frames, device))
            print(f"turn {turn + 1}, {name}: {times[name][-1]:.1f} ms/step", file=sys.stderr, flush=True)
    return {"ms_per_step": {name: statistics.median(turn) for name, turn in times.items()}}


def ms_per_step(run: Run, frames: int, device: torch.device) -> float:
    """Milliseconds per step of one run: the median on a CPU, the mean on a GPU."""
    stamps: list[float] = []

    def stamp(*_steps: int) -> None:
        if device.type == "cuda" and len(stamps) == WARM_UP:
            # The host runs ahead of the device, so only where it waits is a time.
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    run(frames, stamp)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return 1000 * (time.perf_counter() - stamps[WARM_UP]) / (len(stamps) - 1 - WARM_UP)
    return 1000 * statistics.median(after - before for before, after in pairwise(stamps[WARM_UP:]))


def _engine_alone(store: WeightStore, device: torch.device, frames: int) -> dict[str, Any]:
    """What only our engine has: slots, growth over a window, sound before the end."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of those who raced; an engine gives slots half of what is free
    model = implementations.load(store, device)
    assert isinstance(model.generator, Engine)
    conditions = Condition(implementations.TEXT)

    def many(slots: int, prompt: int) -> float:
        known = torch.randint(0, 2048, (4, prompt)) if prompt else None
        requests = [
            SlotRequest(conditions, known, prompt + frames, Sampling(), torch.Generator(device).manual_seed(slot))
            for slot in range(slots)
        ]

        def run(_frames: int, on_step: Any) -> None:
            model.generator.generate_many(requests, on_step)

        return ms_per_step(run, frames, device)

    counts = [2**power for power in range(int(math.log2(MAX_SLOTS[device.type])) + 1)]
    bandwidth = machine.read_bandwidth(device)
    early, late = many(1, EARLY), many(1, LATE)
    return {
        "slots_ms_per_step": {slots: many(slots, 0) for slots in counts},
        "slots_ms_per_step_later": {slots: many(slots, LATER) for slots in (counts[0], counts[-1])},
        "growth": {"early_ms": early, "late_ms": late, "ratio": late / early},
        "read_bandwidth_gb_s": bandwidth / 1e9,
        "floor_ms": 1000 * _bytes_per_step(model, frames // 2, device) / bandwidth,
        "first_audio_s": _first_audio(model, conditions, device),
    }


def _bytes_per_step(model: MusicGenModel, position: int, device: torch.device) -> float:
    """What a step of the default precision has to read: the weights, and two rows' keys and values."""
    shape = model.config.decoder
    layer = 14 * shape.dim**2
    weights = layer * shape.layers + shape.codebooks * shape.card * shape.dim
    cached = 2 * 2 * shape.layers * shape.dim * position
    # The default keeps weights in two bytes; on a CPU it computes, and so remembers, in four.
    return float(2 * weights + (2 if device.type == "cuda" else 4) * cached)


def _first_audio(model: MusicGenModel, conditions: Any, device: torch.device) -> float:
    started = time.perf_counter()
    request = SlotRequest(conditions, None, 500, Sampling(), torch.Generator(device).manual_seed(0))
    next(model.stream(request, FIRST_PIECE))
    return time.perf_counter() - started


def _memory(name: str, store: WeightStore, device: torch.device) -> float:
    """GB that loading and running one contestant takes at most."""
    before = _most_resident()
    implementations.enter(name, store, device)(WARM_UP, lambda *_: None)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return (_most_resident() - before) / 1e9


def _most_resident() -> int:
    """Bytes of memory that this process had at most (Linux; `getrusage` would count its parent's too)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _memory_alone(name: str, store: WeightStore) -> float:
    """The memory of one contestant, in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.speed", "--alone", name, str(store.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _table(figures: dict[str, Any]) -> str:
    ours = next(iter(figures["ms_per_step"].values()))
    lines = [
        f"{figures['size']}, batch 1, guidance 3; {figures['machine']}",
        figures["command"],
        "",
        f"{'':20}{'ms/step':>9}{'x real time':>13}{'ours is':>12}{'memory':>10}",
    ]
    for name, ms in figures["ms_per_step"].items():
        memory = f"{figures['memory_gb'][name]:.2f} GB" if "memory_gb" in figures else ""
        lines.append(f"{name:20}{ms:9.1f}{1000 / ms / FRAME_RATE:13.2f}{ms / ours:10.2f} x{memory:>10}")
    for title, key in (("", "slots_ms_per_step"), (f" at frame {LATER}", "slots_ms_per_step_later")):
        alone = figures[key][1]
        for slots, ms in figures[key].items():
            gain = slots * alone / ms
            speed = slots * 1000 / ms / FRAME_RATE
            lines.append(f"{f'{slots} slots{title}':20}{ms:9.1f}{speed:13.2f}{gain:10.2f} x one after the other")
    growth = figures["growth"]
    share = figures["floor_ms"] / figures["slots_ms_per_step"][1]
    requests = end_to_end.table(figures["whole_requests"]) if "whole_requests" in figures else ""
    return "\n".join(
        [
            *lines,
            f"growth: {growth['ratio']:.2f} x ({growth['early_ms']:.1f} ms at frame {EARLY}, "
            f"{growth['late_ms']:.1f} ms at frame {LATE})",
            f"memory reads at {figures['read_bandwidth_gb_s']:.1f} GB/s: a step takes at least "
            f"{figures['floor_ms']:.1f} ms, and ours reaches {100 * share:.0f} % of that speed",
            f"first second of sound after {figures['first_audio_s']:.2f} s",
            "",
            requests,
        ]
    ).rstrip()


if __name__ == "__main__":
    main()
