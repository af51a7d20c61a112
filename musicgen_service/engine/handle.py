"""A sequence that was submitted to the step loop, seen from both sides."""

from dataclasses import dataclass, field
from queue import SimpleQueue

import torch

from musicgen_service.engine.interface import ConditionTensors, SlotRequest

Advances = SimpleQueue[int]
"""Receives, after each step, how many of a caller's sequences it advanced; and 0 when a sequence has ended."""


@dataclass(eq=False)
class Handle:
    """A submitted sequence.

    Attributes
    ----------
    request, condition : what to generate
    steps : number of steps that it takes
    advances : queue of its caller
    chunk : frames at a time to put into `chunks` while they are generated; 0 for none
    scored_from : where its prefix is all of it and only scored: the first frame of which logits are wanted
    tokens : the result once it is complete: int64 [codebooks, length], or else logits [codebooks, frames, card]
    error : what it failed with
    chunks : consecutive tokens [codebooks, frames], after the prefix
    """

    request: SlotRequest
    condition: ConditionTensors
    steps: int
    advances: Advances
    chunk: int = 0
    scored_from: int | None = None
    tokens: torch.Tensor | None = None
    error: BaseException | None = None
    chunks: SimpleQueue[torch.Tensor] = field(default_factory=SimpleQueue)
    is_cancelled: bool = False
    is_restarted: bool = False
    _steps_done: int = 0
    _steps_counted: int = 0
    _frames_handed_out: int = 0

    def __post_init__(self) -> None:
        self._generator_state = self.request.generator.get_state()
        if self.request.prefix_tokens is not None:
            self._frames_handed_out = self.request.prefix_tokens.shape[-1]

    @property
    def known_positions(self) -> int:
        """Number of positions that are prefilled: those of its prefix and of its prefix tokens."""
        tokens = self.request.prefix_tokens
        return self.condition.prefix_length + (0 if tokens is None else tokens.shape[-1])

    def cancel(self) -> None:
        """Give the sequence up: its slot is free before the next step. Has no effect on one that has ended."""
        self.is_cancelled = True

    @property
    def has_ended(self) -> bool:
        """Whether it is complete or has failed."""
        return self.tokens is not None or self.error is not None

    def count_step(self) -> bool:
        """Count a step; false while a restarted sequence repeats steps that were counted before."""
        self._steps_done += 1
        is_new = self._steps_done > self._steps_counted
        self._steps_counted = max(self._steps_counted, self._steps_done)
        return is_new

    @property
    def frames_due(self) -> int | None:
        """First frame of the chunk that may be handed out now; None when there is none yet."""
        if not self.chunk:
            return None
        known = max(0, self.request.length - (self.steps - self._steps_done))
        is_due = known - self._frames_handed_out >= self.chunk or known == self.request.length
        return self._frames_handed_out if is_due and known > self._frames_handed_out else None

    def hand_out(self, tokens: torch.Tensor) -> None:
        """Put the next chunk into `chunks`."""
        self._frames_handed_out += tokens.shape[-1]
        self.chunks.put(tokens)

    def restart(self) -> None:
        """Prepare for being generated again from its beginning; what was handed out or counted is not repeated."""
        self.is_restarted = True
        self._steps_done = 0
        self.request.generator.set_state(self._generator_state)

    def end(self, tokens: torch.Tensor | None = None, error: BaseException | None = None) -> None:
        """Set the result or the error, and wake its caller."""
        self.tokens, self.error = tokens, error
        self.advances.put(0)
