"""The engine: generates tokens for one sequence or many, several times faster than audiocraft's own loop."""

from collections.abc import Callable, Iterator, Sequence

import torch

from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import Condition, ConditionTensors, OnStep, Sampling, SlotRequest
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.precision import Numerics
from musicgen_service.engine.slots import BLOCK, Buffers, Slots
from musicgen_service.engine.weights import Weights

MAX_SLOTS = {"cpu": 8, "cuda": 32}
"""Sequences that share a step at most: beyond, a step takes longer in proportion."""
_CPU_CACHE_BYTES = 6 * 2**30
"""Bytes of keys and values at most on a CPU: eight slots of `small` for 30 s, or two of `large`."""
_MAX_IN_FLIGHT = 8
"""Steps that a GPU may be behind the host, so that progress is true and a cancellation is prompt."""


class Engine:
    """A `TokenGenerator`.

    Parameters
    ----------
    weights : the decoder's, packed by `numerics`
    delays : frames that each codebook runs behind the first
    to_tensors : a condition as tensors
    numerics : how to compute; `exact` gives the tokens that audiocraft gives
    """

    def __init__(
        self,
        weights: Weights,
        delays: Sequence[int],
        to_tensors: Callable[[Condition], ConditionTensors],
        numerics: Numerics,
    ) -> None:
        self.to_tensors = to_tensors
        self._device = numerics.device
        # Cells without a token have the one after the last.
        self._pattern = DelayPattern(delays, weights.card)
        self._decoder = Decoder(weights, numerics.dtype, numerics.device)
        self._buffers: Buffers | None = None

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `TokenGenerator.generate_many`."""
        conditions = self._condition_tensors(requests)
        buffers = self._allocate_buffers(requests, conditions)
        slots = Slots(self._decoder, self._pattern, buffers)
        # The longest first: they set the time, and slots empty from the highest.
        waiting = sorted(range(len(requests)), key=lambda index: self._steps(requests[index]))
        done, total = 0, sum(self._steps(request) for request in requests)
        free = list(range(buffers.cache.shape.slots))
        in_slot: dict[int, int] = {}
        tokens: dict[int, torch.Tensor] = {}
        in_flight = _InFlightLimit(self._device)
        while waiting or in_slot:
            while waiting and free:
                slot, index = free.pop(0), waiting.pop()
                request = requests[index]
                slots.admit(
                    slot,
                    conditions[index],
                    request.prefix_tokens,
                    request.length,
                    request.sampling,
                    request.generator,
                )
                in_slot[slot] = index
            done += len(in_slot)
            for slot in slots.step():
                index = in_slot.pop(slot)
                tokens[index] = slots.tokens(slot)
                slots.release(slot)
                free.append(slot)
            in_flight.wait()
            on_step(done, total)
        return [tokens[index] for index in range(len(requests))]

    def stream(self, request: SlotRequest, chunk: int) -> Iterator[torch.Tensor]:
        """See `TokenGenerator.stream`."""
        conditions = self._condition_tensors([request])
        slots = Slots(self._decoder, self._pattern, self._allocate_buffers([request], conditions))
        slots.admit(0, conditions[0], request.prefix_tokens, request.length, request.sampling, request.generator)
        given, complete = 0, False
        while not complete:
            complete = bool(slots.step())
            tokens = slots.tokens(0, given)
            if tokens.shape[-1] >= chunk or complete:
                given += tokens.shape[-1]
                yield tokens

    def score(self, condition: Condition, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """The logits that every one of the given tokens would have been drawn from.

        Parameters
        ----------
        tokens : int64 [codebooks, frames]
        guidance : see `Sampling`

        Returns
        -------
        float32 tensor [codebooks, frames, card]
        """
        request = SlotRequest(condition, tokens, tokens.shape[-1], Sampling(), torch.Generator(self._device))
        conditions = self._condition_tensors([request])
        slots = Slots(self._decoder, self._pattern, self._allocate_buffers([request], conditions))
        return slots.score(conditions[0], tokens, guidance)

    def _steps(self, request: SlotRequest) -> int:
        known = 0 if request.prefix_tokens is None else request.prefix_tokens.shape[-1]
        return self._pattern.columns(request.length) - 1 - known

    def _condition_tensors(self, requests: Sequence[SlotRequest]) -> list[ConditionTensors]:
        """One per request; requests that share their condition share the work."""
        made = {
            condition: self.to_tensors(condition)
            for condition in dict.fromkeys(request.condition for request in requests)
        }
        return [made[request.condition] for request in requests]

    def _allocate_buffers(self, requests: Sequence[SlotRequest], conditions: Sequence[ConditionTensors]) -> Buffers:
        """Buffers in which these requests fit: on a GPU those of the last call when they do."""
        needed = max(
            self._pattern.columns(request.length) + condition.prefix_length
            for request, condition in zip(requests, conditions, strict=True)
        )
        text = max(max(condition.text_lengths, default=0) for condition in conditions)
        text_rows = max(1, *(len(condition.texts) for condition in conditions))
        slots = min(len(requests), MAX_SLOTS[self._device.type])
        if self._buffers is not None and self._buffers.fits(slots, needed, text, text_rows):
            return self._buffers
        self._buffers = None  # the old ones go before the new ones come
        capacity, text_capacity = (-(-size // BLOCK) * BLOCK for size in (needed, text))
        self._decoder.reserve_positions(capacity)
        slots = max(1, min(slots, self._max_affordable_slots(capacity)))
        buffers = Buffers(self._decoder, slots, capacity, text_capacity, text_rows)
        if self._device.type == "cuda":
            # What its graphs read and write. A CPU has none to capture again, and every model that was ever used would
            # hold on to its longest request.
            self._buffers = buffers
        return buffers

    def _max_affordable_slots(self, capacity: int) -> int:
        """Slots whose keys and values fit the memory set aside for them."""
        weights = self._decoder.weights
        slot = 4 * len(weights.layers) * weights.dim * capacity * self._decoder.dtype.itemsize
        free = torch.cuda.mem_get_info(self._device)[0] // 2 if self._device.type == "cuda" else _CPU_CACHE_BYTES
        return free // slot


class _InFlightLimit:
    """Keeps the host from running ahead of a GPU by more than some steps."""

    def __init__(self, device: torch.device) -> None:
        self._enabled = device.type == "cuda"
        self._marks: list[torch.cuda.Event] = []

    def wait(self) -> None:
        """Mark the end of a step, and wait for the one `_MAX_IN_FLIGHT` steps ago."""
        if not self._enabled:
            return
        mark = torch.cuda.Event()  # type: ignore[no-untyped-call]
        mark.record()
        self._marks.append(mark)
        if len(self._marks) > _MAX_IN_FLIGHT:
            self._marks.pop(0).synchronize()
