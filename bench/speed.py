"""Speed of token generation: our engine and all others that are installed, alternating in one run.

    python -m bench.speed --size small
    python -m bench.speed --checkpoint demo --race-only

Every implementation decodes the same random checkpoint of a released size, or the one that is named, batch 1 with
guidance 3, sampling from the 250 likeliest; `bench.race` says how they are compared. Then slots of our engine are
measured, the memory of those that load alone in a separate process each, and complete requests with the shipped
checkpoint, unless `--steps-only` or `--race-only` omits them. Prints a table and, as its last line, the same figures as
JSON.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import end_to_end, engine_figures, implementations, machine, race
from bench.implementations import Implementations
from musicgen_service import threads
from musicgen_service.models.checkpoint_config import LanguageModelConfig, parse
from musicgen_service.models.state import read_package
from musicgen_service.models.store import WeightStore

import torch

RESULTS = Path(__file__).parent / "results"
_LOADED_ALONE = ("ours", "audiocraft")
"""Implementations that read a checkpoint themselves; others convert audiocraft's model, which is in memory, too."""


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--size", choices=implementations.SIZES, default="small")
    source.add_argument("--checkpoint", help="a checkpoint in weights/, instead of random weights")
    parser.add_argument("--frames", type=int, default=60, help="frames per turn (default %(default)s)")
    parser.add_argument("--turns", type=int, default=3, help="turns of every implementation (default %(default)s)")
    parser.add_argument(
        "--at",
        type=int,
        nargs="+",
        default=[0],
        metavar="FRAME",
        help="frames before those timed (default %(default)s)",
    )
    parser.add_argument(
        "--scored", type=int, default=60, help="frames with which predictions are compared (default %(default)s)"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only implementations whose name begins with one")
    parser.add_argument("--race-only", action="store_true", help="the race, and neither slots, memory nor requests")
    parser.add_argument(
        "--real-time", action="store_true", help="real-time priority for timed steps of the race, beside other work"
    )
    parser.add_argument("--steps-only", action="store_true", help="neither memory nor whole requests")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    parser.add_argument("--alone", nargs=3, metavar=("NAME", "WEIGHTS", "CHECKPOINT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.alone:
        name, weights, checkpoint = options.alone
        print(_memory(name, WeightStore(Path(weights)), checkpoint, device))
        return
    if options.frames <= race.WARM_UP + 1:
        parser.error(f"--frames must be more than {race.WARM_UP + 1}: the first steps of a turn are not timed.")
    figures: dict[str, Any] = {}
    with _weights(options.size, options.checkpoint, device) as (store, checkpoint):
        names = _names(store, checkpoint, options.only, device, parser)
        with tempfile.TemporaryDirectory() as folder:
            room = max(options.scored, max(options.at) + options.frames)
            loaded = Implementations(store, checkpoint, device, room, Path(folder))
            threads.limit()  # asked for before the next line changes what torch says
            torch.set_num_threads(threads.for_width(loaded.exact.width))
            timing = (options.at, options.frames, options.turns, options.scored, options.real_time)
            rows = race.run(loaded, names, device, *timing)
            del loaded
        if not options.race_only:
            figures["engine"] = engine_figures.measure(store, checkpoint, device, options.frames)
            if not options.steps_only:
                figures["memory_gb"] = {
                    name: _memory_alone(name, store, checkpoint) for name in names if name.split()[0] in _LOADED_ALONE
                }
    if not (options.steps_only or options.race_only):
        figures["whole_requests"] = end_to_end.measure()
    command = f"python -m bench.speed {shlex.join(sys.argv[1:])}".strip()
    policy = " ".join(f"{name}={os.environ.get(name, '')}" for name in threads.WAIT_POLICY)
    figures |= {
        "size": options.checkpoint or options.size,
        "machine": machine.describe(device),
        "environment": policy,
        "command": command,
    }
    figures["race"] = {row.name: row.as_json() for row in rows}
    report = f"{_table(figures, rows)}\n{json.dumps(figures)}"
    print(report)
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        name = f"{datetime.now(UTC):%Y-%m-%d}-{figures['size']}-{device.type}.txt"
        (RESULTS / name).write_text(report + "\n")


@contextmanager
def _weights(size: str, checkpoint: str | None, device: torch.device) -> Iterator[tuple[WeightStore, str]]:
    """Yield a weights folder and the checkpoint's name there."""
    if checkpoint:
        yield WeightStore.from_environment(), checkpoint
        return
    with implementations.random_store(size, device.type) as store:
        yield store, "small"


def _names(
    store: WeightStore, checkpoint: str, only: list[str] | None, device: torch.device, parser: argparse.ArgumentParser
) -> list[str]:
    """Choose the implementations; says which are left out, and why."""
    names = implementations.names(device)
    unknown = [start for start in only or () if not any(name.startswith(start) for name in names)]
    if unknown:
        parser.error(f"--only {unknown[0]}: no implementation begins so; there are {', '.join(names)}.")
    package = read_package(store.checkpoint(checkpoint).language_model)
    has_cross_attention = LanguageModelConfig.read(parse(package["xp.cfg"])).decoder.has_cross_attention
    chosen = [name for name in names if only is None or name.startswith(tuple(only))]
    absences = {name: implementations.absence(name, has_cross_attention) for name in chosen}
    for sentence in dict.fromkeys(filter(None, absences.values())):
        print(sentence, file=sys.stderr, flush=True)
    present = [name for name in chosen if absences[name] is None]
    if not present:
        parser.error("none of these implementations can take part.")
    return present


def _memory(name: str, store: WeightStore, checkpoint: str, device: torch.device) -> float:
    """Peak memory in GB of loading and running one implementation."""
    before = _peak_resident()
    Implementations(store, checkpoint, device, race.WARM_UP).load(name).generate(None, race.WARM_UP, lambda *_: None)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e9
    return (_peak_resident() - before) / 1e9


def _peak_resident() -> int:
    """Peak resident memory of this process in bytes (Linux; `getrusage` would include its parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def _memory_alone(name: str, store: WeightStore, checkpoint: str) -> float:
    """Measure the memory of one implementation in a separate process."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.speed", "--alone", name, str(store.root), checkpoint]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def _table(figures: dict[str, Any], rows: Sequence[race.Row]) -> str:
    lines = [
        f"{figures['size']}, batch 1, guidance 3; {figures['machine']}; {figures['environment']}",
        figures["command"],
        "",
        *race.table(rows, figures.get("memory_gb", {})),
    ]
    if "engine" in figures:
        lines += ["", *engine_figures.table(figures["engine"])]
    if "whole_requests" in figures:
        lines += ["", end_to_end.table(figures["whole_requests"])]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
