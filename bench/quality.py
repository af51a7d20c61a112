"""Quality cost of the faster precisions: divergence of their predictions from float32.

    python -m bench.quality --checkpoint demo
    python -m bench.quality --size small

The float32 engine generates clips; every precision then predicts each of their tokens from the ones before
(teacher forcing), with guidance as in use. Reports the mean divergence KL(float32 || precision) in nats
and how often both have the same likeliest token. A precision passes with at most 0.01 nats and 97 %.
"""

import argparse
import json
import os
from contextlib import nullcontext
from unittest.mock import patch

from bench import implementations, machine
from musicgen_service.engine.precision import Precision, supported
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.precision_check import TEXTS, clip, compare, passes, predictions
from musicgen_service.models.store import WeightStore

import torch


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="a checkpoint in weights/")
    source.add_argument("--size", choices=implementations.SIZES, help="a random checkpoint of a released size")
    parser.add_argument("--frames", type=int, default=250, help="frames of each clip (default %(default)s)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lossy = [precision for precision in supported(device) if precision is not Precision.EXACT]
    store_context = (
        nullcontext(WeightStore.from_environment())
        if options.checkpoint
        else implementations.random_store(options.size)
    )
    name = options.checkpoint or "small"
    with store_context as store:
        exact = _load(name, store, device, Precision.EXACT)
        clips = [clip(exact, text, options.frames) for text in TEXTS]
        truth = predictions(exact, clips)
        del exact
        figures = {
            precision: compare(truth, predictions(_load(name, store, device, precision), clips)) for precision in lossy
        }
    print(f"{name} {options.size or ''}; {machine.describe(device)}\n")
    print(f"{'':8}{'mean KL':>12}{'same likeliest':>17}{'passes':>9}")
    for precision, (nats, agreement) in figures.items():
        print(f"{precision:8}{nats:12.5f}{agreement:16.2%}{'yes' if passes(nats, agreement) else 'no':>9}")
    print(json.dumps({precision: {"kl": nats, "agreement": share} for precision, (nats, share) in figures.items()}))


def _load(name: str, store: WeightStore, device: torch.device, precision: Precision) -> MusicGenModel:
    with patch.dict(os.environ, MUSICGEN_ENGINE="", MUSICGEN_PRECISION=precision):
        return load_model(store.checkpoint(name), device)


if __name__ == "__main__":
    main()
