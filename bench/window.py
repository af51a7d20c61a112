"""A whole window, 30 seconds of music: the mean time of its 1,500 steps, early and late ones, and the codec.

    python -m bench.window --size small --only "ours int8" "ours exact" "openvino int8"

The implementations of `bench.speed` decode the same random checkpoint, from the text alone, in alternating turns. What
a step takes is compared with what its bytes take to be read; for ours the tokens are decoded to sound, too, so that the
sum is what a request takes but for its text encoder.
"""

import argparse
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from bench import implementations, machine
from bench.implementations import Implementations
from bench.peers.interface import Peer
from bench.speed import RESULTS
from musicgen_service import threads
from musicgen_service.engine.precision import Precision

import torch

FRAMES = 1500
EARLY, LATE = 50, 1400
_AROUND = 20
"""Steps on either side of those two whose median is taken."""


@dataclass(frozen=True)
class Turn:
    """What a window took.

    Attributes
    ----------
    steps : seconds of each step
    decoding : seconds of the codec; 0 where it is not measured
    """

    steps: Sequence[float]
    decoding: float

    @property
    def seconds(self) -> float:
        """Of the whole window."""
        return sum(self.steps) + self.decoding

    @property
    def mean(self) -> float:
        """Milliseconds of a step."""
        return 1000 * statistics.fmean(self.steps)

    def at(self, frame: int) -> float:
        """Milliseconds of a step around a frame."""
        return 1000 * statistics.median(self.steps[frame - _AROUND : frame + _AROUND])


def main() -> None:
    """Measure, print, and save the result if requested."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=implementations.SIZES, default="small")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["ours int8", "ours exact"])
    parser.add_argument("--turns", type=int, default=2, help="turns of every implementation (default %(default)s)")
    parser.add_argument("--save", action="store_true", help="keep the output in bench/results")
    options = parser.parse_args()
    device = torch.device("cpu")
    threads.limit()
    torch.set_num_threads(threads.limit())
    turns: dict[str, list[Turn]] = {name: [] for name in options.only}
    with implementations.random_store(options.size) as store, tempfile.TemporaryDirectory() as folder:
        loaded = Implementations(store, "small", device, FRAMES, Path(folder))
        peers = {name: loaded.load(name) for name in options.only}
        shape = loaded.exact.config.decoder
        for turn in range(options.turns):
            for name, peer in peers.items():
                turns[name].append(_turn(peer, loaded if name.startswith("ours") else None))
                print(f"turn {turn + 1}, {name}: {turns[name][-1].mean:.1f} ms a step", file=sys.stderr, flush=True)
    bandwidth = machine.read_bandwidth(device)
    lines = [
        f"{options.size}, {FRAMES} steps, one clip, guidance 3; {machine.describe(device)}",
        f"python -m bench.window {shlex.join(sys.argv[1:])}".strip(),
        f"memory is read at {bandwidth / 1e9:.1f} GB/s",
        "",
        f"{'':20}{'mean':>8}{'at 50':>8}{'at 1400':>9}{'late/early':>12}"
        f"{'steps':>9}{'codec':>8}{'floor':>8}{'share':>8}",
    ]
    for name, measured in turns.items():
        best = min(measured, key=lambda turn: turn.seconds)
        row = (
            f"{name:20}{best.mean:8.1f}{best.at(EARLY):8.1f}{best.at(LATE):9.1f}{best.at(LATE) / best.at(EARLY):12.2f}"
        )
        row += f"{sum(best.steps):7.1f} s{best.decoding:6.1f} s"
        if name.startswith("ours"):
            floor = 1000 * _bytes_per_step(shape.dim, shape.layers, shape.codebooks * shape.card, name) / bandwidth
            row += f"{floor:8.1f}{floor / best.mean:8.0%}"
        lines.append(row)
    report = "\n".join(
        [*lines, "", "ms a step; the turn that was fastest as a whole; floor: of the bytes of a mean step"]
    )
    print(report)
    if options.save:
        (RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-window-{options.size}-cpu.txt").write_text(report + "\n")


def _turn(peer: Peer, ours: Implementations | None) -> Turn:
    stamps = [time.perf_counter()]
    tokens = peer.generate(None, FRAMES, lambda *_: stamps.append(time.perf_counter()))
    before = time.perf_counter()
    if ours is not None:
        ours.exact.decode(tokens)
    return Turn([after - begun for begun, after in pairwise(stamps)], time.perf_counter() - before if ours else 0.0)


def _bytes_per_step(dim: int, layers: int, logits: int, name: str) -> float:
    """Bytes of the weights and of half a window's keys and values of two rows, in a precision of ours."""
    weight, cached = {Precision.EXACT: (2, 4), Precision.INT8: (1, 1)}[Precision(name.split()[1])]
    # The matrix of the logits is in 16 bits in all of them.
    return float(14 * dim**2 * layers * weight + 2 * logits * dim + 2 * 2 * layers * dim * cached * FRAMES / 2)


if __name__ == "__main__":
    main()
