"""audiocraft's own token loop as a `TokenGenerator`: the reference for speed and for tokens."""

from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch

from musicgen_service.engine import global_generator
from musicgen_service.engine.interface import Condition, OnStep, ScoreRequest, SlotRequest


class ReferenceLoop:
    """Generates with `LMModel.generate`.

    Parameters
    ----------
    lm : an audiocraft language model in evaluation mode
    attributes : converts a condition to the form that `LMModel.generate` takes
    """

    takes_negative_text = False
    scores_tokens = False

    def __init__(self, lm: Any, attributes: Callable[[Condition], Any]) -> None:
        self.lm = lm
        self._attributes = attributes

    unresponsive_seconds = 0.0
    load = None
    """See `TokenGenerator` on both; it cannot tell."""

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `TokenGenerator.generate_many`; one request after the other."""
        tokens = []
        for index, request in enumerate(requests):

            def on_own_step(done: int, steps: int, index: int = index) -> None:
                on_step(index * steps + done, len(requests) * steps)

            with global_generator.exclusive(request.generator.device):
                _load_global_state(request.generator)
                tokens.append(self._generate(request, on_own_step))
                _save_global_state(request.generator)
        return tokens

    def stream(
        self, requests: Sequence[SlotRequest], on_step: OnStep, chunk: int = 1
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """See `TokenGenerator.stream`; yields everything at once, at the end."""
        tokens = self.generate_many(requests, on_step)
        prefix = requests[0].prefix_tokens
        yield tokens[0] if prefix is None else tokens[0][:, prefix.shape[-1] :]
        return tokens

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """Not supported; see `scores_tokens`."""
        raise ValueError("audiocraft's loop scores no tokens")

    def _generate(self, request: SlotRequest, on_step: OnStep) -> torch.Tensor:
        """Generate the tokens of one request with torch's global generator."""
        if request.condition.negative_text is not None:
            raise ValueError("audiocraft's loop takes no negative text")
        prefix, sampling = request.prefix_tokens, request.sampling
        device = next(self.lm.parameters()).device
        with torch.autocast(device.type, dtype=torch.float16, enabled=device.type == "cuda"):
            tokens: torch.Tensor = self.lm.generate(
                prompt=None if prefix is None else prefix[None].to(device),
                conditions=[self._attributes(request.condition)],
                max_gen_len=request.length,
                temp=sampling.temperature,
                top_k=min(sampling.top_k, self.lm.card),
                top_p=sampling.top_p,
                cfg_coef=sampling.guidance,
                callback=on_step,
            )
        return tokens[0]


def _load_global_state(generator: torch.Generator) -> None:
    """Set torch's global generator to the state of a generator."""
    if generator.device.type == "cuda":
        torch.cuda.set_rng_state(generator.get_state(), generator.device)
    else:
        torch.set_rng_state(generator.get_state())


def _save_global_state(generator: torch.Generator) -> None:
    """Set a generator to the state of torch's global generator."""
    if generator.device.type == "cuda":
        generator.set_state(torch.cuda.get_rng_state(generator.device))
    else:
        generator.set_state(torch.get_rng_state())
