"""Clips that the base makes before training, on which it is kept as it was where the trigger is not given."""

from collections.abc import Sequence
from pathlib import Path

import torch

from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest
from musicgen_service.seeds import variation_seed
from musicgen_service.training.base import Base
from musicgen_service.training.encoding import Clip
from musicgen_service.training.files import cached

_COUNT = 20
_STYLES = (
    ("rock, guitar, drums", 130),
    ("pop, piano, drums", 110),
    ("lofi hip hop, electric piano, soft drums", 80),
    ("house, synth, drums", 125),
    ("techno, hard drums", 140),
    ("jazz, piano, brushed drums", 120),
    ("ambient pads, no drums", 70),
    ("reggae, organ, drums", 75),
)
_KEYS = ("c major", "a minor", "e minor", "g major", "d minor", "f major")


def make(base: Base, captions: Sequence[str], seconds: float, seed: int, cache: Path, on_step: OnStep) -> list[Clip]:
    """Make clips with captions of the songs and with others.

    Parameters
    ----------
    captions : of the songs, without the trigger
    seconds : length of a clip
    cache : where they are kept; they are read from there if they were made before

    Returns
    -------
    Clips that belong to no song, number -1
    """
    others = [f"{style}, {bpm} bpm, {_KEYS[index % len(_KEYS)]}" for index, (style, bpm) in enumerate(_STYLES)]
    texts = [*others, *list(dict.fromkeys(captions))[: _COUNT - len(others)]]
    frames = round(seconds * base.model.frame_rate)

    def generate() -> dict[str, torch.Tensor]:
        requests = [_request(base, text, frames, variation_seed(seed, index)) for index, text in enumerate(texts)]
        made = base.generate(requests, on_step)
        return {f"{index:03}": tokens.short() for index, tokens in enumerate(made)}

    stored = cached(cache / "made.safetensors", generate)
    tokens = [stored[index].long().cpu() for index in sorted(stored)]
    return [Clip(-1, text, made, (0,), None) for text, made in zip(texts, tokens, strict=True)]


def _request(base: Base, text: str, frames: int, seed: int) -> SlotRequest:
    generator = torch.Generator(base.model.device).manual_seed(seed)
    return SlotRequest(Condition(text), None, frames, Sampling(), generator)
