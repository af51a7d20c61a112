"""Loads the same random checkpoint into every implementation and precision to be compared."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench import fast_musicgen_peer, peers
from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest
from musicgen_service.engine.precision import Precision
from musicgen_service.engine.reference import ReferenceLoop
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.checkpoint_config import DESCRIPTION
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore
from tests.support import checkpoints

import torch

SIZES = {
    "tiny": checkpoints.TINY,
    "small": checkpoints.SMALL,
    "medium": {"dim": 1536, "num_heads": 24, "num_layers": 48},
    "large": {"dim": 2048, "num_heads": 32, "num_layers": 48},
}
TEXT = "a slow rock song with guitar and drums , 90 bpm"
TEXT_LENGTH = 12
"""Its tokens, the last of which ends it."""

Run = Callable[[int, OnStep], None]
"""Generates a number of frames, reporting every step."""


@contextmanager
def random_store(size: str, device: str = "cpu") -> Iterator[WeightStore]:
    """A weights folder with a random text model of a released size, drawn on `device`; deleted afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        shape = SIZES[size]
        codec = (4, 32) if size == "tiny" else (64, 128)
        checkpoints.build_checkpoint(Path(folder), "small", size=shape, card=2048, codec=codec, device=device)
        yield WeightStore(Path(folder))


def load(store: WeightStore, device: torch.device, *, engine: str = "", precision: str = "") -> MusicGenModel:
    """Load the model with the given values of MUSICGEN_ENGINE and MUSICGEN_PRECISION."""
    with patch.dict(os.environ, MUSICGEN_ENGINE=engine, MUSICGEN_PRECISION=precision):
        return load_model(store.checkpoint("small"), device)


def names(device: torch.device) -> list[str]:
    """Names of the implementations available on a device; `ours` first, in its default precision."""
    if device.type == "cuda":
        captured = [f"{fast_musicgen_peer.NAME} half"] if fast_musicgen_peer.is_installed() else []
        return ["ours half", "ours exact", "audiocraft half", "transformers half", *captured]
    ours = [f"ours {precision}" for precision in (Precision.EXACT, Precision.BF16, Precision.INT8)]
    return [*ours, *(f"{peer} {dtype}" for dtype in ("float32", "bf16") for peer in ("audiocraft", "transformers"))]


def load_run(name: str, store: WeightStore, device: torch.device) -> Run:
    """Load one of `names`; returns its generate function."""
    maker, precision = name.split()
    if maker == "ours":
        return _generator(load(store, device, precision=precision))
    if maker == fast_musicgen_peer.NAME:
        return fast_musicgen_peer.FastMusicgen(store.checkpoint("small"), TEXT_LENGTH, device).generate
    model = load(store, device, engine="reference")
    assert isinstance(model.generator, ReferenceLoop)
    lm = model.generator.lm
    dtype = {"float32": torch.float32, "bf16": torch.bfloat16, "half": torch.float16}[precision]
    if maker == "audiocraft":
        # On a GPU audiocraft computes in half precision by itself, under autocast.
        if device.type == "cpu":
            lm.to(dtype)
        return _generator(model)
    return _transformers(lm, dtype, device)


def _generator(model: MusicGenModel) -> Run:
    def run(frames: int, on_step: OnStep) -> None:
        generator = torch.Generator(model.device).manual_seed(0)
        model.generate_tokens([SlotRequest(Condition(TEXT), None, frames, Sampling(), generator)], on_step)

    return run


def _transformers(lm: Any, dtype: torch.dtype, device: torch.device) -> Run:
    with torch.no_grad():
        [text], _mask = lm.condition_provider([adapter.attributes(Condition(TEXT))])[DESCRIPTION]
    network: Any = peers.in_transformers(lm)
    network.to(device=device, dtype=dtype)
    sampling = Sampling()

    def draw(logits: torch.Tensor) -> torch.Tensor:
        likeliest = logits.float().softmax(-1).topk(sampling.top_k)
        return likeliest.indices.gather(-1, torch.multinomial(likeliest.values, 1))[:, 0]

    def run(frames: int, on_step: OnStep) -> None:
        peers.generate(network, text.to(dtype), frames, sampling.guidance, draw, on_step)

    return run
