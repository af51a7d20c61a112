"""Generation of one clip's tokens for tests."""

import torch

from musicgen_service.engine.interface import Condition, OnStep, Sampling, SlotRequest
from musicgen_service.models.musicgen import MusicGenModel


def generate(
    model: MusicGenModel,
    condition: Condition,
    length: int,
    *,
    seed: int = 0,
    prefix_tokens: torch.Tensor | None = None,
    sampling: Sampling | None = None,
    on_step: OnStep = lambda *_: None,
) -> torch.Tensor:
    """Tokens int64 [codebooks, length] of a clip drawn with a seed; see `SlotRequest` for the rest."""
    generator = torch.Generator(model.device).manual_seed(seed)
    request = SlotRequest(condition, prefix_tokens, length, sampling or Sampling(), generator)
    [tokens] = model.generate_tokens([request], on_step)
    return tokens
