"""The loop that generates the tokens of all callers: one thread per model, which alone touches its slots and buffers.

A turn of the loop removes what was cancelled, prefills one piece of the sequence that joins, or as much of it as the
turn has time for, steps all running sequences and hands out their tokens.
"""

import logging
import math
import time
import traceback
import weakref
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import CancelledError

import torch

from musicgen_service.engine.buffers import BLOCK, Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.device_turns import InFlightLimit, turn
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import Load
from musicgen_service.engine.loop_thread import Inbox
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.slot_memory import SlotMemory
from musicgen_service.engine.slots import Slots
from musicgen_service.engine.step_times import StepTimes
from musicgen_service.threads import using

MAX_SLOTS = {"cpu": 8, "cuda": 32}
"""Maximum number of sequences per step: with more, the time per step grows in proportion."""
_TURN_SECONDS = 0.25
"""Time of a turn that a prefill leaves a step: running sequences give a token per turn, which is to be heard soon."""
_LEAST_SHARE = 0.5
"""Time that a prefill may take in any case, as a multiple of a step's: with long steps, it would not end otherwise."""


class StepLoop:
    """Generates sequences for any number of callers.

    Its thread starts with the first sequence, and ends with the loop or with the process.

    Parameters
    ----------
    decoder, pattern : of the model
    window : positions that every slot has room for; a longer sequence waits until no other is running
    threads : number of torch's threads in a prefill; in a step its products and its attention have more than one
    memory : limits the number of slots
    """

    def __init__(self, decoder: Decoder, pattern: DelayPattern, window: int, threads: int, memory: SlotMemory) -> None:
        self._decoder = decoder
        self._pattern = pattern
        self._window = window
        self._threads = threads
        self._memory = memory
        self._max_slots = MAX_SLOTS[decoder.device.type]
        self._slots: Slots | None = None
        self._live: dict[int, Handle] = {}
        """The sequences in slots, by slot."""
        self._joining: int | None = None
        """The slot that is being prefilled."""
        self._in_flight = InFlightLimit(decoder.device)
        self._turn_began: float | None = None
        self._step_seconds = 0.0
        """Time of the last step."""
        self._step_times = StepTimes()
        self._inbox = Inbox()
        self._finalizer = weakref.finalize(self, self._inbox.close)

    @property
    def buffers(self) -> Buffers | None:
        """The present buffers."""
        return None if self._slots is None else self._slots.buffers

    @property
    def unresponsive_seconds(self) -> float:
        """Seconds since the present turn began; 0 while there is nothing to do."""
        began = self._turn_began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def load(self) -> Load:
        """See `TokenGenerator.load`."""
        slots = self._slots
        count = self._max_slots if slots is None else slots.count
        return Load(count, len(self._live), len(self._inbox.waiting), self._step_times)

    def submit(self, handles: Iterable[Handle]) -> None:
        """Queue sequences, in order, behind those that wait already."""
        self._inbox.put(handles, weakref.ref(self))

    def run_until_idle(self) -> None:
        """Take turns until nothing is left to do; called by the loop's thread."""
        try:
            while (self._live or self._inbox.waiting) and not self._inbox.is_closed:
                with turn(self._decoder.device):
                    self._turn_began = time.monotonic()
                    self._take_turn()
        except BaseException as error:
            handles = [*self._live.values(), *self._inbox.waiting]
            self._inbox.waiting.clear()
            self._clear()
            _fail(handles, error)
        finally:
            self._turn_began = None
        self._max_slots = MAX_SLOTS[self._decoder.device.type]
        if self._decoder.device.type == "cpu":
            # On a GPU captured graphs refer to the buffers. A CPU has none, and other models can use the memory.
            self._clear()

    def _take_turn(self) -> None:
        began = time.monotonic()
        for slot, handle in list(self._live.items()):
            if handle.is_cancelled:
                self._leave(slot)
                handle.end(error=CancelledError())
        self._compact()
        if self._joining is None:
            self._admit_next()
        if self._joining is not None:
            self._prefill(self._joining)
        if self._slots is not None and self._slots.is_running:
            stepping = time.monotonic()
            self._step(self._slots)
            ended = time.monotonic()
            self._step_seconds = ended - stepping
            self._step_times.add(ended - began)

    def _compact(self) -> None:
        """Where a step computes all slots up to the highest: move the sequence there down if that halves the step."""
        slots = self._slots
        if slots is None or not slots.is_dense or not self._live or self._joining is not None:
            return
        highest = max(self._live)
        if highest.bit_length() > (len(self._live) - 1).bit_length():
            lowest = slots.free[0]
            slots.move(highest, lowest)
            self._live[lowest] = self._live.pop(highest)

    def _admit_next(self) -> None:
        """Admit the sequence that has waited longest, if there is room for it."""
        with self._inbox.changed:
            waiting = self._inbox.waiting
            for handle in [handle for handle in waiting if handle.is_cancelled]:
                waiting.remove(handle)
                handle.end(error=CancelledError())
            next_handle = next(filter(self._may_join, waiting), None)
        if next_handle is None:
            return
        try:
            slots = self._slots_for(next_handle)
            if slots is None or not slots.free:
                return
            with self._inbox.changed:
                waiting.remove(next_handle)
            slot = slots.free[0]
            request = next_handle.request
            what = slot, next_handle.condition, request.prefix_tokens
            if next_handle.scored_from is None:
                slots.admit(*what, request.length, request.sampling, request.generator)
            else:
                slots.admit_given(*what, request.sampling.guidance, next_handle.scored_from)
        except Exception as error:
            with self._inbox.changed:
                if next_handle in waiting:
                    waiting.remove(next_handle)
            _fail([next_handle], error)
            return
        self._live[slot] = next_handle
        self._joining = slot

    def _may_join(self, handle: Handle) -> bool:
        """Whether a sequence may take a slot: one is kept for clips of a single window.

        Otherwise a short clip would wait until one of many long ones has completed its window.
        """
        parts = sum(live.request.is_part for live in self._live.values())
        slots = self._max_slots if self._slots is None else self._slots.count
        return not handle.request.is_part or parts < max(1, slots - 1)

    def _slots_for(self, handle: Handle) -> Slots | None:
        """Return slots that have room for a sequence; None while others run in slots that are too small for it."""
        condition = handle.condition
        needed = self._pattern.columns(handle.request.length) + condition.prefix_length
        text, text_rows = max(condition.text_lengths, default=0), len(condition.texts)
        if self._slots is not None and self._slots.buffers.fits(needed, text, text_rows):
            return self._slots
        if self._live:
            return None
        self._clear()
        capacity, text_capacity = (-(-size // BLOCK) * BLOCK for size in (max(needed, self._window), max(text, 1)))
        # Unused rows cost no memory on a CPU; on a GPU every step would read them.
        text_rows = 2 if self._decoder.device.type == "cpu" else max(1, text_rows)
        self._decoder.reserve_positions(capacity)
        slot_bytes = Buffers.bytes_per_slot(self._decoder, capacity, text_capacity, text_rows)
        slots = self._memory.reserve(slot_bytes, self._max_slots)
        buffers = Buffers(self._decoder, slots, capacity, text_capacity, text_rows)
        self._slots = Slots(self._decoder, self._pattern, buffers)
        return self._slots

    def _prefill(self, slot: int) -> None:
        assert self._slots is not None
        deadline = math.inf
        # A GPU computes later than it is told to.
        if self._slots.is_running and self._decoder.device.type == "cpu":
            share = max(_TURN_SECONDS - self._step_seconds, _LEAST_SHARE * self._step_seconds)
            deadline = time.monotonic() + share
        try:
            with using(self._threads):
                is_complete = self._slots.prefill(slot, deadline)
            if is_complete:
                self._joining = None
                handle = self._live[slot]
                if handle.scored_from is not None:
                    logits = self._slots.logits(slot)
                    self._leave(slot)
                    handle.end(logits)
        except Exception as error:
            handle = self._live[slot]
            self._leave(slot)
            _fail([handle], error)

    def _step(self, slots: Slots) -> None:
        running = {slot: handle for slot, handle in self._live.items() if slot != self._joining}
        advanced: Counter[object] = Counter()
        try:
            complete = slots.step()
            self._in_flight.wait()
            for slot, handle in running.items():
                if handle.count_step():
                    advanced[handle.advances] += 1
                if (start := handle.frames_due) is not None:
                    handle.hand_out(slots.tokens(slot, start))
            results = {slot: slots.tokens(slot) for slot in complete}
        except Exception as error:
            self._restart(error)
            return
        for handle in running.values():
            if count := advanced.pop(handle.advances, 0):
                handle.advances.put(count)
        for slot, tokens in results.items():
            self._leave(slot)
            running[slot].end(tokens)

    def _leave(self, slot: int) -> None:
        assert self._slots is not None
        self._slots.release(slot)
        del self._live[slot]
        if self._joining == slot:
            self._joining = None

    def _restart(self, error: Exception) -> None:
        """After a failed step: generate all sequences again, once, with half the slots."""
        assert self._slots is not None
        handles = list(self._live.values())
        self._max_slots = max(1, self._slots.count // 2)
        # The traceback holds on to tensors.
        traceback.clear_frames(error.__traceback__)
        self._clear()
        _log().warning("a step failed; %d sequences start again: %s: %s", len(handles), type(error).__name__, error)
        _fail([handle for handle in handles if handle.is_restarted], error)
        again = [handle for handle in handles if not handle.has_ended]
        for handle in again:
            handle.restart()
        with self._inbox.changed:
            self._inbox.waiting.extendleft(reversed(again))

    def _clear(self) -> None:
        """Release every slot and the buffers."""
        self._slots, self._joining = None, None
        self._live.clear()
        self._memory.release()
        if self._decoder.device.type == "cuda":
            torch.cuda.empty_cache()


def _fail(handles: Iterable[Handle], error: BaseException) -> None:
    for handle in handles:
        handle.end(error=error)


def _log() -> logging.Logger:
    return logging.getLogger("musicgen_service")
