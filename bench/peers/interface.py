"""What a race asks of every implementation, and what those that bring no token loop provide instead."""

from collections.abc import Callable
from typing import Protocol

from musicgen_service.engine.interface import OnStep

import torch

Generate = Callable[[torch.Tensor | None, int, OnStep], torch.Tensor]
"""See `Peer.generate`."""


class Peer(Protocol):
    """An implementation that decodes one clip at a time, under one text, with guidance and the default sampling.

    Attributes
    ----------
    takes_prefix : whether it continues clips; one that does not takes the same time for a step everywhere in a clip
    """

    takes_prefix: bool

    def generate(self, prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        """Generate frames.

        Parameters
        ----------
        prefix : tokens int64 [codebooks, frames] to continue, or None
        frames : number of frames after the prefix
        on_step : see `OnStep`

        Returns
        -------
        int64 tensor [codebooks, frames], beginning with the prefix
        """
        ...

    def score(self, tokens: torch.Tensor) -> torch.Tensor:
        """Predict each of some tokens int64 [codebooks, frames] from those before it.

        Returns
        -------
        float tensor [codebooks, frames, card] on the CPU: guided logits
        """
        ...


class Network(Protocol):
    """A decoder that remembers what it was given, as keys and values."""

    def reset(self) -> None:
        """Forget everything: a new clip begins."""
        ...

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        """Take columns int64 [codebooks, columns] and predict the one that follows.

        Returns
        -------
        float32 tensor [2, codebooks, card]: logits with the text and without
        """
        ...
