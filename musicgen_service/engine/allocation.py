"""Allocation of a loop's slots: as large as its sequences need, and as many as there is memory for."""

from contextlib import suppress
from typing import NamedTuple

import torch

from musicgen_service.engine.buffers import BLOCK, Buffers
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.handle import Handle
from musicgen_service.engine.interface import MAX_TEXT_TOKENS
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.slot_memory import SlotMemory
from musicgen_service.engine.slots import Slots

MAX_SLOTS = {"cpu": 8, "cuda": 32}
"""Maximum number of sequences per step: with more, the time per step grows in proportion."""


class _Sizes(NamedTuple):
    """What a slot has room for: positions, positions of each text, and texts; see `Buffers`."""

    capacity: int
    text_capacity: int
    text_rows: int

    def joined(self, other: "_Sizes") -> "_Sizes":
        """Return the sizes that have room for both."""
        return _Sizes(*map(max, self, other))


_NONE = _Sizes(0, 0, 0)


class Allocation:
    """The slots of a loop.

    Parameters
    ----------
    decoder, pattern : of the model
    window : positions that every slot has room for
    memory : limits the number of slots

    Attributes
    ----------
    slots : the present ones, or None
    """

    def __init__(self, decoder: Decoder, pattern: DelayPattern, window: int, memory: SlotMemory) -> None:
        self._decoder = decoder
        self._pattern = pattern
        self._window = window
        self._memory = memory
        self._reduced_to: int | None = None
        """Number of slots at most since a failure, until the loop is idle."""
        self._sizes = _NONE
        """Those of the last slots."""
        self.slots: Slots | None = None

    @property
    def count(self) -> int:
        """Number of slots, or at most how many there would be."""
        if self.slots is not None:
            return self.slots.count
        return self._reduced_to or MAX_SLOTS[self._decoder.device.type]

    def fit(self, handle: Handle, *, is_idle: bool) -> Slots | None:
        """Return slots that have room for a sequence; None while others run in slots that are too small for it.

        Parameters
        ----------
        is_idle : whether no slot is in use, so that there may be new ones
        """
        sizes = self._needed(handle).joined(self._sizes)
        if self.slots is not None and sizes == self._sizes:
            return self.slots
        if not is_idle:
            return None
        self.release()
        self._decoder.reserve_positions(sizes.capacity)
        self.slots = self._allocated(sizes)
        # Later ones have no less room: otherwise two kinds of request would have them replaced in turns.
        self._sizes = sizes
        return self.slots

    def halve(self) -> None:
        """Release the slots; until the loop is idle, there will be half as many at most."""
        self._reduced_to = max(1, self.count // 2)
        self.release()

    def release(self) -> None:
        """Release the slots."""
        self.slots = None
        self._memory.release()
        if self._decoder.device.type == "cuda":
            # After an error of the device this fails like everything else; there is nothing that it could give back.
            with suppress(RuntimeError):
                torch.cuda.empty_cache()

    def rest(self) -> None:
        """Release what an idle loop does not need."""
        is_on_cpu = self._decoder.device.type == "cpu"
        # On a GPU captured graphs refer to the buffers. A CPU has none, and other models can use the memory.
        if is_on_cpu or self._reduced_to is not None:
            self._reduced_to = None
            self.release()
        if is_on_cpu:
            self._sizes = _NONE

    def _needed(self, handle: Handle) -> _Sizes:
        condition = handle.condition
        columns = self._pattern.columns(handle.request.length) + condition.prefix_length
        text, rows = max(condition.text_lengths, default=1), len(condition.texts)
        if self._decoder.device.type == "cpu":
            # Rows and positions that are not used take no memory on a CPU; on a GPU every step would read the rows.
            text, rows = max(text, MAX_TEXT_TOKENS), 2
        return _Sizes(_rounded(max(columns, self._window)), _rounded(text), max(1, rows))

    def _allocated(self, sizes: _Sizes) -> Slots:
        slot_bytes = Buffers.bytes_per_slot(self._decoder, *sizes)
        while True:
            count = self._memory.reserve(slot_bytes, self.count)
            try:
                return Slots(self._decoder, self._pattern, Buffers(self._decoder, count, *sizes))
            except RuntimeError:  # torch has no class of its own for a CPU that is out of memory
                if count == 1:
                    self._sizes = _NONE
                    self.release()
                    raise
            self._reduced_to = count // 2
            self.release()


def _rounded(size: int) -> int:
    """Round up to whole blocks."""
    return -(-size // BLOCK) * BLOCK
