"""The engine: generates tokens for one or many sequences, several times faster than audiocraft's own loop."""

from collections.abc import Callable, Iterator, Sequence

import torch

from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import Condition, ConditionTensors, OnStep, Sampling, SlotRequest
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.precision import Numerics
from musicgen_service.engine.slots import BLOCK, Buffers, Slots
from musicgen_service.engine.weights import Weights

MAX_SLOTS = {"cpu": 8, "cuda": 32}
"""Maximum number of sequences per step: with more, the time per step grows in proportion."""
_CPU_CACHE_BYTES = 6 * 2**30
"""Maximum bytes of keys and values on a CPU: eight slots of `small` for 30 s, or two of `large`."""
_MAX_IN_FLIGHT = 8
"""Steps that a GPU may lag behind the host; a limit keeps progress accurate and cancellation prompt."""


class Engine:
    """The `TokenGenerator` of this project.

    Parameters
    ----------
    weights : of the decoder, packed by `numerics`
    delays : frames by which each codebook lags behind the first
    to_tensors : converts a condition to tensors
    numerics : precision and device; `exact` gives the same tokens as audiocraft
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
        # Cells without a token hold the special token, whose number follows the last real one.
        self._pattern = DelayPattern(delays, weights.card)
        self._decoder = Decoder(weights, numerics.dtype, numerics.device)
        self._buffers: Buffers | None = None

    def generate_many(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `TokenGenerator.generate_many`."""
        conditions = self._condition_tensors(requests)
        buffers = self._allocate_buffers(requests, conditions)
        slots = Slots(self._decoder, self._pattern, buffers)
        # The longest first: they determine the total time, and slots become free from the highest number down.
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
        yielded, complete = 0, False
        while not complete:
            complete = bool(slots.step())
            tokens = slots.tokens(0, yielded)
            if tokens.shape[-1] >= chunk or complete:
                yielded += tokens.shape[-1]
                yield tokens

    def score(self, condition: Condition, tokens: torch.Tensor, guidance: float) -> torch.Tensor:
        """Compute the logits from which each of the given tokens would have been drawn.

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
        """Return one per request; requests with the same condition share the computation."""
        tensors = {
            condition: self.to_tensors(condition)
            for condition in dict.fromkeys(request.condition for request in requests)
        }
        return [tensors[request.condition] for request in requests]

    def _allocate_buffers(self, requests: Sequence[SlotRequest], conditions: Sequence[ConditionTensors]) -> Buffers:
        """Return buffers that fit these requests; on a GPU, those of the last call are reused when they fit."""
        needed = max(
            self._pattern.columns(request.length) + condition.prefix_length
            for request, condition in zip(requests, conditions, strict=True)
        )
        text = max(max(condition.text_lengths, default=0) for condition in conditions)
        text_rows = max(1, *(len(condition.texts) for condition in conditions))
        slots = min(len(requests), MAX_SLOTS[self._device.type])
        if self._buffers is not None and self._buffers.fits(slots, needed, text, text_rows):
            return self._buffers
        self._buffers = None  # free the old buffers before allocating new ones
        capacity, text_capacity = (-(-size // BLOCK) * BLOCK for size in (needed, text))
        self._decoder.reserve_positions(capacity)
        slots = max(1, min(slots, self._max_affordable_slots(capacity)))
        buffers = Buffers(self._decoder, slots, capacity, text_capacity, text_rows)
        if self._device.type == "cuda":
            # Captured graphs refer to these buffers. A CPU has no graphs, and keeping buffers there would make every
            # loaded model hold the memory of its longest request.
            self._buffers = buffers
        return buffers

    def _max_affordable_slots(self, capacity: int) -> int:
        """Return the number of slots whose keys and values fit the memory reserved for them."""
        weights = self._decoder.weights
        slot = 4 * len(weights.layers) * weights.dim * capacity * self._decoder.dtype.itemsize
        free = torch.cuda.mem_get_info(self._device)[0] // 2 if self._device.type == "cuda" else _CPU_CACHE_BYTES
        return free // slot


class _InFlightLimit:
    """Limits how many steps the host may run ahead of a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._enabled = device.type == "cuda"
        self._events: list[torch.cuda.Event] = []

    def wait(self) -> None:
        """Record the end of a step and wait for the one `_MAX_IN_FLIGHT` steps ago."""
        if not self._enabled:
            return
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        self._events.append(event)
        if len(self._events) > _MAX_IN_FLIGHT:
            self._events.pop(0).synchronize()
