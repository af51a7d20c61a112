"""Speed of token generation: our engine, audiocraft's own loop and transformers' MusicGen, alternating in one run.

    python -m bench.speed --size small

Every implementation decodes the same random checkpoint of a released size, batch 1 with guidance 3, sampling from the
250 likeliest. Then the memory of each is measured in a separate process, and complete requests run with the shipped
checkpoint, unless `--steps-only` omits both. Prints a table and, as its last line, the same figures as JSON.
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
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.step_loop import MAX_SLOTS
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

import torch

RESULTS = Path(__file__).parent / "results"
WARM_UP = 5
FRAME_RATE = 50
FIRST_CHUNK = 50
"""Frames of the first chunk of a stream: one second."""
EARLY, LATE = 50, 1400
"""Frames at which the time of a step is compared, to show its growth."""
LATER = 300
"""Frame at which slots are measured again, with longer key-value caches, which slots cannot share."""


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    parser.add_argument("--frames", type=int, default=60, help="frames per turn (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="turns of every implementation (default %(default)s)")
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
        figures = _compare(store, device, options.frames, options.turns)
        figures |= _measure_engine(store, device, options.frames)
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


def _compare(store: WeightStore, device: torch.device, frames: int, turns: int) -> dict[str, Any]:
    """Milliseconds per step of every implementation, the median of alternating turns."""
    runs = {name: implementations.load_run(name, store, device) for name in implementations.names(device)}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(turns):
        for name, run in runs.items():
            times[name].append(ms_per_step(run, frames, device))
            print(f"turn {turn + 1}, {name}: {times[name][-1]:.1f} ms/step", file=sys.stderr, flush=True)
    return {"ms_per_step": {name: statistics.median(turn) for name, turn in times.items()}}


def ms_per_step(run: Run, frames: int, device: torch.device) -> float:
    """Milliseconds per step of one run: the median on a CPU, the mean on a GPU."""
    stamps: list[float] = []

    def stamp(*_steps: int) -> None:
        if device.type == "cuda" and len(stamps) == WARM_UP:
            # The host runs ahead of the device, so times are valid only after synchronisation.
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    run(frames, stamp)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return 1000 * (time.perf_counter() - stamps[WARM_UP]) / (len(stamps) - 1 - WARM_UP)
    return 1000 * statistics.median(after - before for before, after in pairwise(stamps[WARM_UP:]))


def _measure_engine(store: WeightStore, device: torch.device, frames: int) -> dict[str, Any]:
    """Figures of our engine alone: batching in slots, growth over a window, time to the first second of audio."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # of the other implementations; an engine allocates half of the free memory to slots
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
    """Bytes that a step of the default precision reads: the weights, and two rows' keys and values."""
    shape = model.config.decoder
    layer = 14 * shape.dim**2
    weights = layer * shape.layers + shape.codebooks * shape.card * shape.dim
    cached = 2 * 2 * shape.layers * shape.dim * position
    # The default stores weights in two bytes; on a CPU it computes in four, and so do the caches.
    return float(2 * weights + (2 if device.type == "cuda" else 4) * cached)


def _first_audio(model: MusicGenModel, conditions: Any, device: torch.device) -> float:
    started = time.perf_counter()
    request = SlotRequest(conditions, None, 500, Sampling(), torch.Generator(device).manual_seed(0))
    next(model.stream_audio(model.stream_tokens([request], lambda *_: None), [FIRST_CHUNK]))
    return time.perf_counter() - started


def _memory(name: str, store: WeightStore, device: torch.device) -> float:
    """Peak memory in GB of loading and running one implementation."""
    before = _peak_resident()
    implementations.load_run(name, store, device)(WARM_UP, lambda *_: None)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return (_peak_resident() - before) / 1e9


def _peak_resident() -> int:
    """Peak resident memory of this process in bytes (Linux; `getrusage` would include its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _memory_alone(name: str, store: WeightStore) -> float:
    """Measure the memory of one implementation in a separate process."""
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
