"""What generates tokens, seen from outside: the reference loop and the engine both fit it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

OnStep = Callable[[int, int], None]
"""Called after each step with the steps done and the steps there will be; an exception from it ends the run."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is drawn."""

    top_k: int = 250
    """Draw from this many likeliest tokens; 0: from all."""
    top_p: float = 0.0
    """Draw from the likeliest tokens that together reach this probability; 0: `top_k` decides."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the likeliest token."""
    guidance: float = 3.0
    """Classifier-free guidance: how far to go from the unconditional towards the conditional logits."""


class TokenGenerator(Protocol):
    """Continues a sequence of audio tokens within one window of the model."""

    def generate(
        self, conditions: Any, prompt: torch.Tensor | None, length: int, sampling: Sampling, on_step: OnStep
    ) -> torch.Tensor:
        """Generate tokens.

        Parameters
        ----------
        conditions : what the clip is conditioned on, made by `audiocraft_door.conditions`
        prompt : tokens [codebooks, frames] to go on from, or None
        length : frames in all, the prompt's included
        sampling : how tokens are drawn; the random numbers come from torch's global generator
        on_step : see `OnStep`

        Returns
        -------
        int64 tensor [codebooks, length], which begins with the prompt
        """
        ...
