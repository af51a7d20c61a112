"""What generates tokens, seen from outside: the reference loop and the engine both fit it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

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


@dataclass(frozen=True, eq=False)
class Condition:
    """What one clip is conditioned on.

    Attributes
    ----------
    text : description, or None for none
    melody : waveform [1, samples] of the melody alone, at the model's rate, or None
    chroma : float [12, frames] from pitch class C on, in the melody's place, or None
    negative_text : description of what it should not be, which guidance leads away from, or None for none
    """

    text: str | None = None
    melody: torch.Tensor | None = None
    chroma: torch.Tensor | None = None
    negative_text: str | None = None


@dataclass(frozen=True)
class ConditionTensors:
    """A condition as tensors.

    Attributes
    ----------
    texts : float [length, dim] each, seen through cross-attention: by the conditional row, and by the unconditional
        one where there is a negative text; empty for a model without cross-attention
    prefix : float [2, length, dim], which the conditional and the unconditional row begin with, or None
    """

    texts: tuple[torch.Tensor, ...]
    prefix: torch.Tensor | None

    @property
    def text_lengths(self) -> tuple[int, ...]:
        """Positions of each text."""
        return tuple(text.shape[0] for text in self.texts)

    @property
    def prefix_length(self) -> int:
        """Positions of the prefix."""
        return 0 if self.prefix is None else self.prefix.shape[1]


@dataclass(frozen=True)
class SlotRequest:
    """One of several sequences that are generated together, each as if it were alone."""

    condition: Condition
    """What it is conditioned on."""
    prefix_tokens: torch.Tensor | None
    """Tokens [codebooks, frames] to go on from, or None."""
    length: int
    """Frames in all, the prefix's included."""
    sampling: Sampling
    """How its tokens are drawn."""
    generator: torch.Generator
    """Its own random numbers, on the model's device; seeded with s they are those of `torch.manual_seed(s)`."""


class TokenGenerator(Protocol):
    """Continues sequences of audio tokens within one window of the model."""

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """Generate tokens for several independent requests.

        Parameters
        ----------
        requests : any number; none of them affects another's tokens
        on_step : see `OnStep`; steps are counted over all requests

        Returns
        -------
        int64 tensors [codebooks, length], in the order of the requests, each beginning with its prefix
        """
        ...

    def stream(self, request: SlotRequest, chunk: int) -> Iterator[torch.Tensor]:
        """Generate the tokens of one request, and hand them out while more are being made.

        Nothing else may be generated before the last chunk is out or the iterator is closed.

        Parameters
        ----------
        chunk : frames at a time, where they can be had early; the last chunk has the rest

        Yields
        ------
        int64 tensors [codebooks, frames], beginning with the prefix
        """
        ...
