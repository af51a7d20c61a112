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
from collections.abc import Sequence
from contextlib import nullcontext
from unittest.mock import patch

from bench import implementations, machine
from musicgen_service.engine.engine import Engine
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.engine.precision import Precision
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

import torch
from torch.nn import functional

TEXTS = ("a slow rock song with guitar and drums , 90 bpm", "fast jazz piano", "lofi , 120 bpm")
MAX_NATS, MIN_AGREEMENT = 0.01, 0.97


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", help="a checkpoint in weights/")
    source.add_argument("--size", choices=implementations.SIZES, help="a random checkpoint of a released size")
    parser.add_argument("--frames", type=int, default=250, help="frames of each clip (default %(default)s)")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    lossy = [Precision.HALF, Precision.BF16] if device.type == "cuda" else [Precision.BF16, Precision.INT8]
    store_context = (
        nullcontext(WeightStore.from_environment())
        if options.checkpoint
        else implementations.random_store(options.size)
    )
    name = options.checkpoint or "small"
    with store_context as store:
        exact = _load(name, store, device, Precision.EXACT)
        clips = [_clip(exact, text, options.frames) for text in TEXTS]
        truth = _scores(exact, clips)
        del exact
        figures = {
            precision: compare(truth, _scores(_load(name, store, device, precision), clips)) for precision in lossy
        }
    print(f"{name} {options.size or ''}; {machine.describe(device)}\n")
    print(f"{'':8}{'mean KL':>12}{'same likeliest':>17}{'passes':>9}")
    for precision, (nats, agreement) in figures.items():
        print(f"{precision:8}{nats:12.5f}{agreement:16.2%}{'yes' if passes(nats, agreement) else 'no':>9}")
    print(json.dumps({precision: {"kl": nats, "agreement": share} for precision, (nats, share) in figures.items()}))


def _load(name: str, store: WeightStore, device: torch.device, precision: Precision) -> MusicGenModel:
    with patch.dict(os.environ, MUSICGEN_ENGINE="", MUSICGEN_PRECISION=precision):
        return load_model(store.checkpoint(name), device)


def _clip(model: MusicGenModel, text: str, frames: int) -> torch.Tensor:
    generator = torch.Generator(model.device).manual_seed(0)
    [tokens] = model.generate_tokens(
        [SlotRequest(Condition(text), None, frames, Sampling(), generator)], lambda *_: None
    )
    return tokens


def _scores(model: MusicGenModel, clips: Sequence[torch.Tensor]) -> torch.Tensor:
    """Log-probabilities [tokens, card] of all clips."""
    assert isinstance(model.generator, Engine)
    scores = [
        model.generator.score(Condition(text), clip, Sampling().guidance)
        for text, clip in zip(TEXTS, clips, strict=True)
    ]
    return torch.cat(scores).flatten(0, 1).log_softmax(-1)


def compare(truth: torch.Tensor, predicted: torch.Tensor) -> tuple[float, float]:
    """Compare log-probabilities [..., card]: mean divergence in nats, and the share with the same likeliest token."""
    nats = functional.kl_div(predicted, truth, reduction="sum", log_target=True) / truth[..., 0].numel()
    return float(nats), float((truth.argmax(-1) == predicted.argmax(-1)).float().mean())


def passes(nats: float, agreement: float) -> bool:
    """Whether a precision is as close to float32 as those that we offer have to be."""
    return nats <= MAX_NATS and agreement >= MIN_AGREEMENT


if __name__ == "__main__":
    main()
