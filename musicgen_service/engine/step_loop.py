"""The loop that generates the tokens of all callers: one thread per model, which alone touches its slots and buffers.

A turn of the loop removes what was cancelled, prefills one piece of a sequence that joins, or as much of it as the
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

from musicgen_service.engine.allocation import Allocation
from musicgen_service.engine.buffers import Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.device_turns import InFlightLimit, turn
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import Load
from musicgen_service.engine.loop_thread import Inbox
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.prefill import PIECE
from musicgen_service.engine.slot_memory import SlotMemory
from musicgen_service.engine.slots import Slots
from musicgen_service.engine.step_times import StepTimes
from musicgen_service.threads import using

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
        self._device = decoder.device
        self._threads = threads
        self._allocation = Allocation(decoder, pattern, window, memory)
        self._live: dict[int, Handle] = {}
        """The sequences in slots, by slot."""
        self._joining: list[int] = []
        """The slots that are being prefilled, in the order of their turns."""
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
        slots = self._allocation.slots
        return None if slots is None else slots.buffers

    @property
    def unresponsive_seconds(self) -> float:
        """Seconds since the present turn began; 0 while there is nothing to do."""
        began = self._turn_began
        return 0.0 if began is None else time.monotonic() - began

    @property
    def load(self) -> Load:
        """See `TokenGenerator.load`."""
        return Load(self._allocation.count, len(self._live), self._inbox.count, self._step_times)

    def submit(self, handles: Iterable[Handle]) -> None:
        """Queue sequences, in order, behind those that wait already."""
        self._inbox.put(handles, weakref.ref(self))

    def run_until_idle(self) -> None:
        """Take turns until nothing is left to do; called by the loop's thread."""
        try:
            while not self._inbox.is_closed and self._has_work():
                with turn(self._device):
                    self._turn_began = time.monotonic()
                    self._take_turn()
        except BaseException as error:
            # First of all, whatever else may fail: their callers wait for them.
            _fail([*self._live.values(), *self._inbox.waiting], error)
            self._inbox.waiting.clear()
            self._clear()
        finally:
            self._turn_began = None
        self._allocation.rest()

    def _has_work(self) -> bool:
        self._inbox.take()
        return bool(self._live or self._inbox.waiting)

    def _take_turn(self) -> None:
        began = time.monotonic()
        for slot, handle in list(self._live.items()):
            if handle.is_cancelled:
                self._leave(slot)
                handle.end(error=CancelledError())
        self._compact()
        self._admit_next()
        if self._joining:
            self._prefill(self._joining[0])
        slots = self._allocation.slots
        if slots is not None and slots.is_running:
            stepping = time.monotonic()
            self._step(slots)
            ended = time.monotonic()
            self._step_seconds = ended - stepping
            self._step_times.add(ended - began)

    def _compact(self) -> None:
        """Where a step computes all slots up to the highest: move the sequence there down if that halves the step."""
        slots = self._allocation.slots
        if slots is None or not slots.is_dense or not self._live or self._joining:
            return
        highest = max(self._live)
        if highest.bit_length() > (len(self._live) - 1).bit_length():
            lowest = slots.free[0]
            slots.move(highest, lowest)
            self._live[lowest] = self._live.pop(highest)

    def _admit_next(self) -> None:
        """Admit the sequence that has waited longest of those that may join, if there is room for it."""
        waiting = self._inbox.waiting
        for handle in [handle for handle in waiting if handle.is_cancelled]:
            waiting.remove(handle)
            handle.end(error=CancelledError())
        next_handle = next(filter(self._may_join, waiting), None)
        if next_handle is None:
            return
        try:
            slots = self._allocation.fit(next_handle, is_idle=not self._live)
            if slots is None or not slots.free:
                return
            waiting.remove(next_handle)
            slot = slots.free[0]
            request = next_handle.request
            what = slot, next_handle.condition, request.prefix_tokens
            if next_handle.scored_from is None:
                slots.admit(*what, request.length, request.sampling, request.generator)
            else:
                slots.admit_given(*what, request.sampling.guidance, next_handle.scored_from)
        except Exception as error:
            if next_handle in waiting:
                waiting.remove(next_handle)
            _fail([next_handle], error)
            return
        self._live[slot] = next_handle
        self._joining.append(slot)

    def _may_join(self, handle: Handle) -> bool:
        """Whether a sequence may take a slot now.

        Sequences join one after the other. A long prefill takes many turns, so one short one at a time may be beside
        it. One slot is kept for clips of a single window: otherwise a short clip would wait until one of many long ones
        has completed its window.
        """
        if self._joining and (
            _is_short(self._live[self._joining[0]]) or len(self._joining) > 1 or not _is_short(handle)
        ):
            return False
        parts = sum(live.request.is_part for live in self._live.values())
        return not handle.request.is_part or parts < max(1, self._allocation.count - 1)

    def _prefill(self, slot: int) -> None:
        slots = self._allocation.slots
        assert slots is not None
        deadline = math.inf
        # A GPU computes later than it is told to.
        if slots.is_running and self._device.type == "cpu":
            share = max(_TURN_SECONDS - self._step_seconds, _LEAST_SHARE * self._step_seconds)
            deadline = time.monotonic() + share
        handle = self._live[slot]
        try:
            with using(self._threads):
                is_complete = slots.prefill(slot, deadline)
            self._joining.remove(slot)
            if not is_complete:
                self._joining.append(slot)
            elif handle.scored_from is not None:
                logits = slots.logits(slot)
                self._leave(slot)
                handle.end(logits)
        except Exception as error:
            self._leave(slot)
            _fail([handle], error)

    def _step(self, slots: Slots) -> None:
        running = {slot: handle for slot, handle in self._live.items() if slot not in self._joining}
        advanced: Counter[object] = Counter()
        results: dict[int, torch.Tensor] = {}
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
        # After a failure, too: what was counted is not counted again.
        for handle in running.values():
            if count := advanced.pop(handle.advances, 0):
                handle.advances.put(count)
        for slot, tokens in results.items():
            self._leave(slot)
            running[slot].end(tokens)

    def _leave(self, slot: int) -> None:
        slots = self._allocation.slots
        assert slots is not None
        slots.release(slot)
        del self._live[slot]
        if slot in self._joining:
            self._joining.remove(slot)

    def _restart(self, error: Exception) -> None:
        """After a failed step: generate all sequences again, once, with half the slots."""
        handles = list(self._live.values())
        _log().warning("a step failed; %d sequences start again: %s: %s", len(handles), type(error).__name__, error)
        # The traceback holds on to tensors.
        traceback.clear_frames(error.__traceback__)
        _fail([handle for handle in handles if handle.is_restarted], error)
        again = [handle for handle in handles if not handle.has_ended]
        for handle in again:
            handle.restart()
        self._inbox.waiting.extendleft(reversed(again))
        self._live.clear()
        self._joining.clear()
        self._allocation.halve()

    def _clear(self) -> None:
        """Release every slot and the buffers."""
        self._live.clear()
        self._joining.clear()
        self._allocation.release()


def _is_short(handle: Handle) -> bool:
    """Whether a prefill takes no more than a text and one piece."""
    return handle.known_positions <= PIECE


def _fail(handles: Iterable[Handle], error: BaseException) -> None:
    for handle in handles:
        handle.end(error=error)


def _log() -> logging.Logger:
    return logging.getLogger("musicgen_service")
