"""Interface of token generation, implemented by the engine and by the reference loop."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch

from musicgen_service.engine.step_times import StepTimes

OnStep = Callable[[int, int], None]
"""Called after each step with the steps done and the total; an exception from it aborts the run."""

MAX_TEXT_TOKENS = 512
"""Tokens of the longest text that is read: T5 was trained on so many, and the cost of attention grows quadratically."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Sampling:
    """Sampling parameters of the next token."""

    top_k: int = 250
    """Sample from this many most likely tokens; 0: from all."""
    top_p: float = 0.0
    """Sample from the most likely tokens that together reach this probability; 0: use `top_k`."""
    temperature: float = 1.0
    """Divides the logits; 0 takes the most likely token."""
    guidance: float = 3.0
    """Scale of classifier-free guidance, from the unconditional towards the conditional logits."""


@dataclass(frozen=True, eq=False)
class Condition:
    """The conditioning inputs of one clip.

    Attributes
    ----------
    text : description, or None
    melody : waveform [1, samples] of the melody alone, at the model's rate, or None
    chroma : float [12, frames] starting at pitch class C, used instead of a melody, or None
    negative_text : description of what to avoid, which guidance moves away from, or None
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
    texts : float [length, dim] each, read through cross-attention: one for the conditional row and, with a negative
        text, one for the unconditional row; empty for a model without cross-attention
    prefix : float [2, length, dim], prepended to the conditional and the unconditional row, or None
    """

    texts: tuple[torch.Tensor, ...]
    prefix: torch.Tensor | None

    @property
    def text_lengths(self) -> tuple[int, ...]:
        """Number of positions of each text."""
        return tuple(text.shape[0] for text in self.texts)

    @property
    def prefix_length(self) -> int:
        """Number of positions of the prefix."""
        return 0 if self.prefix is None else self.prefix.shape[1]


@dataclass(frozen=True)
class SlotRequest:
    """One of several sequences generated together; none affects the others."""

    condition: Condition
    """Its conditioning."""
    prefix_tokens: torch.Tensor | None
    """Tokens [codebooks, frames] to continue, or None."""
    length: int
    """Total frames, including the prefix."""
    sampling: Sampling
    """How its tokens are sampled."""
    generator: torch.Generator
    """Its own generator, on the model's device; seeded with s, it gives the numbers of `torch.manual_seed(s)`."""
    is_part: bool = False
    """Whether it is one window of several, which leaves a slot to clips of a single one."""


@dataclass(frozen=True)
class ScoreRequest:
    """Given tokens, of which the model says how likely they are.

    Attributes
    ----------
    condition : their conditioning
    tokens : int64 [codebooks, frames]
    guidance : see `Sampling`; 1 is the model's own view of the condition
    start : the first frame that is scored; those before it are context
    """

    condition: Condition
    tokens: torch.Tensor
    guidance: float = 1.0
    start: int = 0


@dataclass(frozen=True)
class Load:
    """How busy a generator is.

    Attributes
    ----------
    slots : number of sequences that a step can have at present
    running : number of sequences in slots
    waiting : number of sequences without one
    step_times : of all steps so far, what joins between them included
    """

    slots: int
    running: int
    waiting: int
    step_times: StepTimes


class TokenGenerator(Protocol):
    """Continues sequences of audio tokens within one window of the model, for any number of threads at once."""

    takes_negative_text: bool
    """Whether it supports `Condition.negative_text`."""
    scores_tokens: bool
    """Whether it supports `score_many`."""

    @property
    def unresponsive_seconds(self) -> float:
        """Seconds since it last did something; 0 while it has nothing to do."""
        ...

    @property
    def load(self) -> Load | None:
        """How busy it is; None when it cannot tell."""
        ...

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

    def stream(
        self, requests: Sequence[SlotRequest], on_step: OnStep, chunk: int = 1
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """Do what `generate_many` does, and yield the first request's tokens meanwhile; closing the iterator ends it.

        Parameters
        ----------
        chunk : frames at a time, where available early; the last chunk has the remainder

        Yields
        ------
        int64 tensors [codebooks, frames], which follow the prefix

        Returns
        -------
        What `generate_many` does
        """
        ...

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """Compute the logits from which given tokens would have been drawn, each in one pass.

        Returns
        -------
        float32 tensors [codebooks, frames from `start` on, card], in the order of the requests
        """
        ...


def result(work: Generator[Any, None, _T]) -> _T:
    """Run a generator to its end; what it yields is not needed.

    Returns
    -------
    What it returns
    """
    with closing(work):
        while True:
            try:
                next(work)
            except StopIteration as ended:
                return ended.value
