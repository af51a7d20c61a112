"""Health check: a minimal prediction."""

import torch

from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths.windows import generate_tokens

FRAMES = 2
"""Frames of tokens to generate: 40 ms of music."""


def probe(model: MusicModel | None, device: torch.device) -> bool:
    """Generate and decode a few tokens; without a model, only test the device. An error is raised, not returned."""
    if model is None:
        return bool(torch.ones(8, device=device).sum().item() == 8)
    condition = Condition("music")
    [tokens] = generate_tokens(
        model, lambda _: condition, None, FRAMES, Sampling(1, 0.0, 1.0, 3.0), [1], lambda _: None
    )
    return bool(torch.isfinite(model.decode(tokens)).all())
