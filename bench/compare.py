"""Compares a newly trained demo checkpoint with the shipped one, figure by figure.

    python -m bench.compare build/demo-training/weights
    python -m bench.compare build/demo-training/weights --clips 10 --only codec tempo

Both generate from the same prompts with the same seeds. Prints a table and, as its last line, the same figures as JSON.
"""

import argparse
import json
from pathlib import Path

from bench.fidelity import GROUPS
from bench.fidelity_bench import Bench
from musicgen_service.models.loading import load_model
from musicgen_service.models.store import WeightStore

import torch

MEASURED = ("codec", "tempo", "drums", "key", "melody", "continuation", "collapse")
"""The groups of `bench.fidelity` that measure a checkpoint."""


def bench_of(weights: Path, clips: int) -> Bench:
    """Create a bench for the checkpoint `demo` of a weights folder."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Bench(lambda: load_model(WeightStore(weights).checkpoint("demo"), device), clips)


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trained", type=Path, help="a weights folder with demo/ in it")
    parser.add_argument("--shipped", type=Path, default=Path("weights"), help="the weights folder to compare with")
    parser.add_argument("--clips", type=int, default=50, help="clips behind each figure")
    parser.add_argument("--only", nargs="+", choices=MEASURED, default=MEASURED)
    arguments = parser.parse_args()
    for folder in (arguments.trained, arguments.shipped):
        if not WeightStore(folder).has("demo"):
            parser.error(f"{folder} has no demo checkpoint in it: give a folder such as build/demo-training/weights.")
    trained, shipped = (bench_of(folder, arguments.clips) for folder in (arguments.trained, arguments.shipped))
    figures: dict[str, dict[str, dict[str, float]]] = {"trained": {}, "shipped": {}}
    met = {"trained": 0, "shipped": 0}
    print(f"| {'':34} | {'trained':58} | met | {'shipped':58} | met | {'target':13} |")
    print(f"|{'-' * 36}|{'-' * 60}|-----|{'-' * 60}|-----|{'-' * 15}|")
    for group in arguments.only:
        for row, other in zip(GROUPS[group](trained), GROUPS[group](shipped), strict=True):
            columns = " | ".join(f"{r.figure:58} | {'yes' if r.met else 'no':3}" for r in (row, other))
            print(f"| {row.name:34} | {columns} | {row.target:13} |", flush=True)
            for name, measured in (("trained", row), ("shipped", other)):
                figures[name][row.name] = {key: round(value, 4) for key, value in measured.numbers.items()}
                met[name] += measured.met
    print(f"targets met: {met['trained']} of {len(figures['trained'])}, by the shipped checkpoint {met['shipped']}")
    print(json.dumps({"clips": arguments.clips, **figures}))


if __name__ == "__main__":
    main()
