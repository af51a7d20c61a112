"""A batch beside the same requests one after the other: rate, bytes and memory.

    python -m bench.batch

Makes clips with the shipped checkpoint by the code of the command `batch`, one at a time and as many at a time as the
step loop has slots, in turns, and compares the files. Tempo and key are heard, as `batch` does unless told otherwise.
"""

import argparse
import asyncio
import filecmp
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import machine
from bench.speed import RESULTS
from musicgen_service import __version__, predictors
from musicgen_service.batch.clips import Describer
from musicgen_service.batch.items import Item, Preparation
from musicgen_service.batch.lists import read
from musicgen_service.batch.local import LocalClient
from musicgen_service.batch.manifest import Manifest, Shard
from musicgen_service.batch.progress import BatchProgress
from musicgen_service.batch.run import Batch

import psutil
import torch

_TARGET = 1.3
_STYLES = ("lofi piano", "deep house", "rock with drums", "slow strings", "techno")


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=200, help="how many (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="of each clip (default %(default)g)")
    parser.add_argument("--turns", type=int, default=5, help="parts that are made in turns (default %(default)s)")
    parser.add_argument("--no-analysis", action="store_true", help="do not listen to the clips")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(_measure(Path(folder), options))
    print(report)
    if options.save:
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-batch-cpu.txt").write_text(report + "\n")


async def _measure(folder: Path, options: argparse.Namespace) -> str:
    runner = predictors.load(None)
    prompts = [f"{_STYLES[number % len(_STYLES)]}, {80 + number} bpm" for number in range(options.clips)]
    (folder / "list.txt").write_text("\n".join(prompts))
    entries, _ = read(folder / "list.txt", runner.fields)
    settings = {"duration": options.seconds, "model_version": "demo"}
    items, problems = Preparation(runner, ["demo"], __version__).items(entries, settings)
    assert not problems, problems
    describer = Describer(listens=not options.no_analysis)
    wall: dict[str, float] = {"alone": 0.0, "together": 0.0}
    processor = dict(wall)
    resident: list[float] = []
    for turn in range(-1, options.turns):
        part = items[: 2 * len(_STYLES)] if turn < 0 else items[turn :: options.turns]
        for name, at_once in (("alone", 1), ("together", None)):
            # The turn before the first one is not measured: models and libraries are loaded in it.
            target = folder / ("warm-up" if turn < 0 else name) / (name if turn < 0 else "")
            started, processor_started = time.perf_counter(), time.process_time()
            groups = [[item] for item in part] if at_once else [part]
            await _make(groups, LocalClient(runner, "demo", at_once), target, describer)
            if turn >= 0:
                wall[name] += time.perf_counter() - started
                processor[name] += time.process_time() - processor_started
        resident.append(psutil.Process().memory_info().rss / 2**20)
        print(f"turn {turn + 1}: {wall}, processor {processor}, {resident[-1]:.0f} MiB", file=sys.stderr, flush=True)
    names = sorted(path.name for path in (folder / "alone").glob("*.wav"))
    same, *_ = filecmp.cmpfiles(folder / "alone", folder / "together", names, shallow=False)
    assert len(names) == len(items)
    rates, by_processor = (figures["alone"] / figures["together"] for figures in (wall, processor))
    listened = "not listened to" if options.no_analysis else "listened to"
    return "\n".join(
        [
            f"{options.clips} clips of {options.seconds:g} s, {listened}; {machine.describe(torch.device('cpu'))}",
            f"python -m bench.batch {' '.join(sys.argv[1:])}".strip(),
            "",
            f"rate of a batch, of one after the other = 1     {rates:6.2f}   target >= {_TARGET}",
            f"the same by processor time                      {by_processor:6.2f}",
            f"clips per second, batch                         {len(items) / wall['together']:6.2f}",
            f"files that are the same, byte by byte           {len(same):6} of {len(names)}",
            f"memory after the first turn and the last, MiB   {resident[1]:6.0f} {resident[-1]:6.0f}",
        ]
    )


async def _make(groups: Sequence[Sequence[Item]], client: LocalClient, folder: Path, describer: Describer) -> None:
    """Make requests, one group after the other."""
    folder.mkdir(parents=True, exist_ok=True)
    seconds = [item.seconds for group in groups for item in group]
    manifest, progress = Manifest(folder, Shard()), BatchProgress(len(seconds), sum(seconds))
    batch = Batch(folder, Shard(), manifest, describer)
    async with client:
        for group in groups:
            await batch.run(group, client, progress)
    manifest.close()


if __name__ == "__main__":
    main()
