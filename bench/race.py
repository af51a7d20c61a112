"""The race of `bench.speed`: every implementation decodes the same checkpoint, in alternating turns, and is compared.

How fast: the time of a step, early in a clip and after many frames. How well: each predicts the tokens of a clip that
our float32 engine made, from those before, and its predictions are compared with float32's, as in `bench.quality`.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench import priority
from bench.implementations import Implementations
from bench.peers.interface import Generate, Peer
from musicgen_service.models import precision_check

import torch

WARM_UP = 5
FRAME_RATE = 50
OURS = "ours"


@dataclass(frozen=True)
class Row:
    """An implementation's figures.

    Attributes
    ----------
    name : whose, and in which precision
    milliseconds : by the number of frames before, of a step in each turn: the median on a CPU, the mean on a GPU
    kl : mean divergence of its predictions from float32's, in nats
    agreement : how often both have the same likeliest token
    """

    name: str
    milliseconds: dict[int, list[float]]
    kl: float
    agreement: float

    def median(self, position: int) -> float:
        """Milliseconds of a step there, the median of the turns."""
        return statistics.median(self.milliseconds[position])

    def least(self, position: int) -> float:
        """Milliseconds of a step there, the least of the turns."""
        return min(self.milliseconds[position])

    @property
    def peer(self) -> str:
        """Whose it is."""
        return self.name.split()[0]

    @property
    def precision(self) -> str:
        """Its precision, or that of its weights."""
        return self.name.split()[1]

    @property
    def passes(self) -> bool:
        """Whether its predictions are as close to float32's as those of a precision that we offer have to be."""
        return precision_check.passes(self.kl, self.agreement)

    def as_json(self) -> dict[str, Any]:
        """Return the figures as JSON takes them."""
        times = {
            position: {"median": self.median(position), "least": self.least(position), "turns": turns}
            for position, turns in self.milliseconds.items()
        }
        return {"ms_per_step": times, "kl": self.kl, "agreement": self.agreement}


def run(
    implementations: Implementations,
    names: Sequence[str],
    device: torch.device,
    positions: Sequence[int],
    frames: int,
    turns: int,
    scored: int,
    real_time: bool = False,
) -> list[Row]:
    """Race implementations.

    Parameters
    ----------
    names : of `implementations.names`
    positions : numbers of frames that a clip has before the steps that are timed
    frames : timed per turn and position
    turns : of every implementation at every position
    scored : frames of the clip with which predictions are compared
    real_time : whether timed steps have real-time priority
    """
    torch.manual_seed(0)
    peers: dict[str, Peer] = {}
    for name in names:
        _say(f"loading {name}")
        peers[name] = implementations.load(name)
    truth = implementations.load("ours exact")
    clip = truth.generate(None, scored, lambda *_: None)
    expected = _log_probabilities(truth, clip)
    closeness = {}
    for name, peer in peers.items():
        closeness[name] = precision_check.compare(expected, _log_probabilities(peer, clip))
        _say(f"{name}: {closeness[name][0]:.5f} nats, {closeness[name][1]:.2%} the same likeliest")
    times: dict[str, dict[int, list[float]]] = {name: {position: [] for position in positions} for name in names}
    codebooks, card = expected.shape[0], expected.shape[-1]
    for turn in range(turns):
        for position in positions:
            prefix = torch.randint(0, card, (codebooks, position)) if position else None
            for name, peer in peers.items():
                given = prefix if peer.takes_prefix else None
                times[name][position].append(ms_per_step(peer.generate, given, frames, device, real_time))
                _say(f"turn {turn + 1}, {name} at frame {position}: {times[name][position][-1]:.2f} ms/step")
    return [Row(name, times[name], *closeness[name]) for name in names]


def ms_per_step(
    generate: Generate, prefix: torch.Tensor | None, frames: int, device: torch.device, real_time: bool = False
) -> float:
    """Milliseconds per step that follows a prefix: the median on a CPU, the mean on a GPU."""
    stamps: list[float] = []

    def stamp(*_steps: int) -> None:
        if real_time and not stamps:
            priority.set_real_time(True)
        if device.type == "cuda" and len(stamps) == WARM_UP:
            # The host runs ahead of the device, so times are valid only after synchronisation.
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    try:
        generate(prefix, frames, stamp)
    finally:
        if real_time:
            priority.set_real_time(False)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return 1000 * (time.perf_counter() - stamps[WARM_UP]) / (len(stamps) - 1 - WARM_UP)
    return 1000 * statistics.median(after - before for before, after in pairwise(stamps[WARM_UP:]))


def table(rows: Sequence[Row], memory: dict[str, float]) -> list[str]:
    """Format the rows, each beside the fastest of ours that passes.

    Least times are compared, as other work disturbs them least.

    Parameters
    ----------
    memory : in GB, by name, where it is known
    """
    positions = list(rows[0].milliseconds)
    best = {position: _best_of_ours(rows, position) for position in positions}
    titles = "".join(f"{f'at frame {position}':>14}{'least':>8}{'/ ours':>8}" for position in positions)
    lines = [f"{'ms per step':22}{titles}{'x real time':>13}{'KL':>10}{'same':>8}{'memory':>10}{'passes':>8}"]
    for row in rows:
        cells = "".join(
            f"{row.median(position):14.2f}{row.least(position):8.2f}"
            f"{row.least(position) / best[position].least(position):8.2f}"
            for position in positions
        )
        real_time = 1000 / row.least(positions[0]) / FRAME_RATE
        occupied = f"{memory[row.name]:.2f} GB" if row.name in memory else ""
        closeness = f"{max(row.kl, 0):10.5f}{row.agreement:8.1%}"  # rounding may leave a divergence below 0
        lines.append(
            f"{row.name:22}{cells}{real_time:13.2f}{closeness}{occupied:>10}{'yes' if row.passes else 'no':>8}"
        )
    for position in positions:
        others = _fastest_of_each(rows, position, best[position].least(position))
        if others:
            lines += ["", f"at frame {position}, in times of {best[position].name}, the fastest of each:", *others]
    return lines


def _fastest_of_each(rows: Sequence[Row], position: int, ours: float) -> list[str]:
    """Name the fastest of every peer, and where that one does not pass, the fastest that does."""
    lines = []
    for peer in dict.fromkeys(row.peer for row in rows if row.peer != OURS):
        ranked = sorted((row for row in rows if row.peer == peer), key=lambda row: row.least(position))
        passing = next((row for row in ranked if row.passes), ranked[0])
        line = f"  {peer}: {ranked[0].precision} {ranked[0].least(position) / ours:.2f}"
        if passing is not ranked[0]:
            line += f"; of those that pass, {passing.precision} {passing.least(position) / ours:.2f}"
        lines.append(line)
    return lines


def _log_probabilities(peer: Peer, clip: torch.Tensor) -> torch.Tensor:
    """Return what a peer predicts of a clip [codebooks, frames]: float32 [codebooks, frames, card]."""
    return peer.score(clip.cpu()).float().log_softmax(-1)


def _best_of_ours(rows: Sequence[Row], position: int) -> Row:
    """Return the fastest of our precisions that passes; without ours, the first row."""
    ours = [row for row in rows if row.peer == OURS and row.passes]
    return min(ours, key=lambda row: row.least(position), default=rows[0])


def _say(progress: str) -> None:
    print(progress, file=sys.stderr, flush=True)
