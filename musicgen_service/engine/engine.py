"""The engine: generates tokens for one or many sequences, several times faster than audiocraft's own loop."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import TypeVar

import torch

from musicgen_service import threads
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.handle import Advances, Handle
from musicgen_service.engine.interface import (
    Condition,
    ConditionTensors,
    Load,
    OnStep,
    Sampling,
    ScoreRequest,
    SlotRequest,
    result,
)
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.precision import Numerics
from musicgen_service.engine.slot_memory import SlotMemory, UnsharedSlotMemory
from musicgen_service.engine.step_loop import StepLoop
from musicgen_service.engine.step_scores import step_scores
from musicgen_service.engine.weights import Weights

_POLL_INTERVAL = 0.05
"""Maximum seconds until a waiting caller notices that it was cancelled."""

_T = TypeVar("_T")


class Engine:
    """The `TokenGenerator` of this project.

    Parameters
    ----------
    weights : of the decoder, packed by `numerics`
    delays : frames by which each codebook lags behind the first
    to_tensors : converts a condition to tensors
    numerics : precision and device; `exact` gives the same tokens as audiocraft
    positions : length, prefix included, for which slots have room; a longer sequence waits until no other runs
    memory : limits the number of slots; by default that of a model that is alone on its device
    """

    takes_negative_text = True
    scores_tokens = True

    def __init__(
        self,
        weights: Weights,
        delays: Sequence[int],
        to_tensors: Callable[[Condition], ConditionTensors],
        numerics: Numerics,
        positions: int = 0,
        memory: SlotMemory | None = None,
    ) -> None:
        self.to_tensors = to_tensors
        self.numerics = numerics
        # Cells without a token hold the special token, whose number follows the last real one.
        self.pattern = DelayPattern(delays, weights.card)
        self.decoder = Decoder(weights, numerics.dtype, numerics.cache_dtype, numerics.device)
        memory = memory or UnsharedSlotMemory(numerics.device)
        room = self.pattern.columns(positions)
        self.loop = StepLoop(self.decoder, self.pattern, room, threads.for_width(weights.dim), memory)

    @property
    def weights(self) -> Weights:
        """Of its decoder."""
        return self.decoder.weights

    @property
    def unresponsive_seconds(self) -> float:
        """See `TokenGenerator.unresponsive_seconds`."""
        return self.loop.unresponsive_seconds

    @property
    def load(self) -> Load:
        """See `TokenGenerator.load`."""
        return self.loop.load

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `TokenGenerator.generate_many`."""
        return result(self.stream(requests, on_step, chunk=0))

    def stream(
        self, requests: Sequence[SlotRequest], on_step: OnStep, chunk: int = 1
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """See `TokenGenerator.stream`; with chunks of 0 frames, nothing is yielded."""
        advances: Advances = SimpleQueue()
        conditions = self._condition_tensors(requests)
        handles = [self._handle(*both, advances) for both in zip(requests, conditions, strict=True)]
        for handle in handles[:1]:
            handle.chunk = chunk
        yield from self._carry_out(handles, advances, on_step)
        return [handle.tokens for handle in handles if handle.tokens is not None]

    def score_many(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """See `TokenGenerator.score_many`."""
        advances: Advances = SimpleQueue()
        handles = []
        for request, condition in zip(requests, self._condition_tensors(requests), strict=True):
            tokens, sampling = request.tokens.cpu(), Sampling(guidance=request.guidance)
            generator = torch.Generator(self.decoder.device)  # of which nothing is drawn
            given = SlotRequest(request.condition, tokens, tokens.shape[-1], sampling, generator, is_part=True)
            handles.append(Handle(given, condition, 0, advances, scored_from=request.start))
        result(self._carry_out(handles, advances, lambda _done, _total: None))
        return [handle.tokens for handle in handles if handle.tokens is not None]

    def score(self, condition: Condition, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """Compute the logits [codebooks, frames, card] of given tokens [codebooks, frames]; see `score_many`."""
        return self.score_many([ScoreRequest(condition, tokens, guidance)])[0]

    def step_scores(self, condition: Condition, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """Do what `score` does, but by steps on a CPU, whose products a prefill does not have; beside the loop."""
        return step_scores(self.decoder, self.pattern, self.to_tensors(condition), tokens, guidance)

    def _carry_out(
        self, handles: list[Handle], advances: Advances, on_step: OnStep
    ) -> Generator[torch.Tensor, None, None]:
        """Have the loop carry out sequences, and yield the chunks of the first; the others have none."""
        done, total = 0, sum(handle.steps for handle in handles)
        try:
            # A cancel may be raised in the middle of it. The longest first, because they determine the total time.
            self.loop.submit(sorted(handles, key=lambda handle: -handle.steps))
            while done < total or not all(handle.has_ended for handle in handles):
                advanced = _next(advances)
                error = next((handle.error for handle in handles if handle.error is not None), None)
                if error is not None:
                    raise error
                if advanced:
                    done += advanced
                    on_step(done, total)
                for handle in handles[:1]:
                    yield from _ready(handle.chunks)
        finally:
            for handle in handles:
                handle.cancel()

    def _handle(self, request: SlotRequest, condition: ConditionTensors, advances: Advances) -> Handle:
        known = 0 if request.prefix_tokens is None else request.prefix_tokens.shape[-1]
        if known >= request.length:
            raise ValueError(f"the prefix ({known} frames) is not shorter than the clip ({request.length})")
        if request.prefix_tokens is not None:
            # Here, as a caller may wait for the device and the loop may not.
            request = replace(request, prefix_tokens=request.prefix_tokens.cpu())
        return Handle(request, condition, self.pattern.columns(request.length) - 1 - known, advances)

    def _condition_tensors(self, requests: Sequence[SlotRequest | ScoreRequest]) -> list[ConditionTensors]:
        """Return one per request; requests with the same condition share the computation."""
        tensors = {
            condition: self.to_tensors(condition)
            for condition in dict.fromkeys(request.condition for request in requests)
        }
        return [tensors[request.condition] for request in requests]


def _next(queue: "SimpleQueue[_T]") -> _T:
    """Wait for the next entry of a queue; an exception that is raised in this thread meanwhile ends the wait soon."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=_POLL_INTERVAL)


def _ready(queue: "SimpleQueue[_T]") -> Iterator[_T]:
    """Take what is in a queue."""
    with suppress(Empty):
        while True:
            yield queue.get_nowait()
