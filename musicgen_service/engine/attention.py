"""Attention backends of the decoder for prefill and for a step on a CPU; `gpu_attention` has those of a step on a GPU.

The decoder works on rows [rows, dim]. On a GPU a step has two rows per slot, the conditional one first; on a CPU it has
the conditional rows of all running slots, then the unconditional rows of those whose guidance needs one. A prefill has
positions of one slot's conditional row, then the same positions of its unconditional row.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

import torch
from torch.nn import functional

from musicgen_service import threads
from musicgen_service.engine.cache import KeyValueCache

_CACHED_BYTES = 32_000_000
"""Keys and values of a step that a processor's cache holds; beyond it one core reads at a third of the speed, and
several together are faster than one, though each call waits for all of them."""


class Attention(Protocol):
    """Self- and cross-attention of a batch of rows, layer by layer."""

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """Store the keys and values of rows [rows, 3 * dim] (queries, keys, values) and attend: [rows, dim]."""
        ...

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """Return the rows that attend to text, as a view of `x`.

        Without a negative text, the text of an unconditional row is all zeros and has no effect.
        """
        ...

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """Attend to the text, for `text_rows` only: [rows, dim] to [rows, dim]."""
        ...


class PrefillAttention:
    """Prefill: a piece of one slot's known positions, which also attends to the pieces before it.

    Parameters
    ----------
    cache, text : keys and values of the sequence and of its texts (None for models without cross-attention)
    rows : number of the slot's rows
    start, stop : positions of the piece
    text_lengths : number of text positions of each row that has a text
    """

    def __init__(
        self,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        slot: int,
        rows: int,
        start: int,
        stop: int,
        text_lengths: Sequence[int],
    ) -> None:
        self._cache = cache
        self._slot = slot
        self._rows = rows
        self._start = start
        self._stop = stop
        # Position i of the piece sees everything up to itself.
        mask = torch.ones(stop - start, stop, dtype=torch.bool, device=cache.buffer.device).tril(start)
        self._dtype = torch.float32 if cache.buffer.dtype is torch.int8 else cache.buffer.dtype
        self._mask = torch.zeros_like(mask, dtype=self._dtype).masked_fill_(~mask, -torch.inf) if start else None
        self._text = text
        self._text_lengths = text_lengths[:rows] if text else ()

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        shape = self._cache.shape
        split = projected.to(self._dtype).view(self._rows, -1, 3, shape.heads, shape.width).permute(0, 2, 3, 1, 4)
        self._cache.write(layer, self._slot, split[:, 1:], start=self._start)
        # Its own keys and values as they are stored, too: a piece's result is the same wherever it begins.
        keys, values = self._cache.read(layer, self._slot, self._stop, slice(self._rows))
        out = functional.scaled_dot_product_attention(
            split[:, 0], keys, values, self._mask, is_causal=self._mask is None
        )
        return out.transpose(1, 2).reshape(projected.shape[0], -1).to(projected.dtype)

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[: len(self._text_lengths) * x.shape[0] // self._rows]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._text is not None
        attended = []
        for index, row in enumerate(queries.chunk(len(self._text_lengths))):
            length = self._text_lengths[index]
            keys, values = self._text.read(layer, self._slot, length, slice(index, index + 1))
            heads = row.to(self._dtype).view(1, row.shape[0], self._cache.shape.heads, -1).transpose(1, 2)
            out = functional.scaled_dot_product_attention(heads, keys, values)
            attended.append(out.transpose(1, 2).reshape(row.shape).to(row.dtype))
        return torch.cat(attended)


class SlotRows(NamedTuple):
    """The rows of one slot in a step on a CPU."""

    slot: int
    length: int
    """Number of positions, including this step's."""
    rows: int
    text_lengths: tuple[int, ...]
    """Number of text positions of each row that has a text."""

    @property
    def order(self) -> tuple[int, int, int]:
        """Position among the slots of a step: those with most texts first, then those with most rows."""
        return -len(self.text_lengths), -self.rows, self.slot


def row_places(slots: Sequence[SlotRows]) -> list[tuple[int, int, int]]:
    """Return, of each row of a step in order, its slot, its row there, and its number of positions."""
    return [(slot.slot, row, slot.length) for row in range(2) for slot in slots if row < slot.rows]


def text_places(slots: Sequence[SlotRows]) -> list[tuple[int, int, int]]:
    """Return the same of the texts that rows of a step attend to."""
    return [
        (slot.slot, row, slot.text_lengths[row]) for row in range(2) for slot in slots if row < len(slot.text_lengths)
    ]


class PerSlotAttention:
    """A step on a CPU: one call per slot, over exactly that slot's positions.

    torch splits the work of a call according to its batch size, which changes the order of summation. Only one call
    per slot makes a slot's results independent of its neighbours.

    The conditional rows of all slots come first, then the unconditional rows of those that have one. As the slots are
    in the order of `SlotRows.order`, the rows of the slot at index i are every n-th from i on, where n is the number
    of slots, and the rows that read text precede those that do not.

    Parameters
    ----------
    slots : of the step, in their order
    """

    def __init__(self, cache: KeyValueCache, text: KeyValueCache | None, slots: Sequence[SlotRows]) -> None:
        self._shape = cache.shape
        self._count = len(slots)
        self._targets = [cache.position_views(slot.slot, slot.length - 1, slot.rows) for slot in slots]
        self._keys_values = [cache.views(slot.slot, slot.length, slice(slot.rows)) for slot in slots]
        self._texts = [_views_by_row(text, slot.slot, slot.text_lengths) for slot in slots] if text else []
        self._text_rows = sum(map(len, self._texts))
        self._threads = reading_threads(cache, sum(slot.rows * slot.length for slot in slots))

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        split = projected.view(-1, 3, self._shape.heads, 1, self._shape.width)
        out = torch.empty_like(split[:, 0])
        with threads.using(self._threads):
            for index, (target, (keys, values)) in enumerate(zip(self._targets, self._keys_values, strict=True)):
                own = split[index :: self._count]
                target[layer].copy_(own[:, 1:, :, 0])
                out[index :: self._count] = functional.scaled_dot_product_attention(
                    own[:, 0], keys[layer], values[layer]
                )
        return out.view(projected.shape[0], -1)

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[: self._text_rows]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        heads = queries.view(-1, 1, self._shape.heads, 1, self._shape.width)
        out = torch.empty_like(heads)
        for index, texts in enumerate(self._texts):
            for row, (keys, values) in zip(range(index, self._text_rows, self._count), texts, strict=True):
                out[row] = functional.scaled_dot_product_attention(heads[row], keys[layer], values[layer])
        return out.view(queries.shape)


def reading_threads(cache: KeyValueCache, positions: int) -> int:
    """Number of threads for attention to so many positions, of all rows together, in each layer."""
    read = replace(cache.shape, slots=1, rows=1, capacity=positions).bytes(cache.buffer.dtype)
    return 1 if read <= _CACHED_BYTES else threads.limit()


def _views_by_row(
    text: KeyValueCache, slot: int, lengths: Sequence[int]
) -> list[tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]]:
    """Return keys and values [1, heads, length, width] of each text of a slot, layer by layer."""
    return [text.views(slot, length, slice(row, row + 1)) for row, length in enumerate(lengths)]
