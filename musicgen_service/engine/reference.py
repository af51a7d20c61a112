"""audiocraft's own token loop behind our interface: the reference for speed and for tokens."""

from typing import Any

import torch

from musicgen_service.engine.interface import OnStep, Sampling


class ReferenceLoop:
    """Generates with `LMModel.generate`.

    Parameters
    ----------
    lm : an audiocraft language model in evaluation mode
    """

    def __init__(self, lm: Any) -> None:
        self._lm = lm

    def generate(
        self, conditions: Any, prompt: torch.Tensor | None, length: int, sampling: Sampling, on_step: OnStep
    ) -> torch.Tensor:
        """See `TokenGenerator.generate`."""
        device = next(self._lm.parameters()).device
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            tokens: torch.Tensor = self._lm.generate(
                prompt=None if prompt is None else prompt[None].to(device),
                conditions=[conditions],
                max_gen_len=length,
                temp=sampling.temperature,
                top_k=min(sampling.top_k, self._lm.card),
                top_p=sampling.top_p,
                cfg_coef=sampling.guidance,
                callback=on_step,
            )
        return tokens[0]
