"""Attention of the decoder: in a prefill, in a step on a CPU, and in a step on a GPU.

The decoder works on rows [rows, dim]. A step has two rows per slot, the conditional one first; a prefill has all
positions of one slot's conditional row, then all of its unconditional row.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch.nn import functional

from musicgen_service.engine.cache import KeyValueCache


class Attention(Protocol):
    """Attention of some rows, layer by layer."""

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """Store the keys and values of rows [rows, 3 * dim] (queries, keys, values), and attend: [rows, dim]."""
        ...

    def conditional_rows(self, x: torch.Tensor) -> torch.Tensor:
        """The rows that attend to text, as a view of `x`: an unconditional row's text is zero, and so is its effect."""
        ...

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """Attend to the text, conditional rows only: [rows, dim] to [rows, dim]."""
        ...


class PrefillAttention:
    """All known positions of one slot at once.

    Parameters
    ----------
    cache, text : keys and values of the sequence, and of its text (None for models without cross-attention)
    text_length : positions of the text
    """

    def __init__(self, cache: KeyValueCache, text: KeyValueCache | None, slot: int, text_length: int) -> None:
        self._cache = cache
        self._slot = slot
        self._text = text.views(slot, text_length) if text else None

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        shape = self._cache.shape
        split = projected.view(2, -1, 3, shape.heads, shape.width).permute(0, 2, 3, 1, 4)
        self._cache.write(layer, self._slot, split[:, 1:])
        queries, keys, values = split.unbind(1)
        out = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True)
        return out.transpose(1, 2).reshape(projected.shape[0], -1)

    def conditional_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[: x.shape[0] // 2]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._text is not None
        keys, values = self._text[0][layer], self._text[1][layer]
        heads = queries.view(1, queries.shape[0], keys.shape[1], -1).transpose(1, 2)
        out = functional.scaled_dot_product_attention(heads, keys, values)
        return out.transpose(1, 2).reshape(queries.shape)


class PerSlotAttention:
    """A step on a CPU: one call for each slot, over exactly its own positions.

    torch splits the work of one call by its whole batch, which changes the order of sums, so only calls
    of one slot each give numbers that do not depend on the neighbours.

    Parameters
    ----------
    lengths : positions of each slot, this step's included; 0 for a slot that is idle
    text_lengths : positions of each slot's text
    """

    def __init__(
        self,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        lengths: Sequence[int],
        text_lengths: Sequence[int],
    ) -> None:
        self._shape = cache.shape
        self._active = [slot for slot, length in enumerate(lengths) if length]
        self._make = torch.empty_like if all(lengths) else torch.zeros_like
        self._targets = {slot: cache.position_views(slot, lengths[slot] - 1) for slot in self._active}
        self._keys_values = {slot: cache.views(slot, lengths[slot]) for slot in self._active}
        self._text = {slot: text.views(slot, text_lengths[slot]) for slot in self._active} if text else {}

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        shape = self._shape
        split = projected.view(-1, shape.rows, 3, shape.heads, 1, shape.width)
        out = self._make(split[:, :, 0])
        for slot in self._active:
            self._targets[slot][layer].copy_(split[slot, :, 1:, :, 0])
            keys, values = self._keys_values[slot]
            out[slot] = functional.scaled_dot_product_attention(split[slot, :, 0], keys[layer], values[layer])
        return out.view(projected.shape[0], -1)

    def conditional_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[::2]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        heads = queries.view(-1, 1, self._shape.heads, 1, self._shape.width)
        out = self._make(heads)
        for slot in self._active:
            keys, values = self._text[slot]
            out[slot] = functional.scaled_dot_product_attention(heads[slot], keys[layer], values[layer])
        return out.view(queries.shape)


class BatchedAttention:
    """A step on a GPU: all slots in one call, and a mask hides the positions that a slot does not have.

    Every tensor here has the same shape and place at every step, so that the step can be captured.

    Parameters
    ----------
    positions : int64 [slots], where this step's keys and values go
    text_lengths : int64 [slots]
    span : positions that the call reads, at least those of the longest slot
    """

    def __init__(
        self,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        positions: torch.Tensor,
        text_lengths: torch.Tensor,
        span: int,
    ) -> None:
        self._slots = positions.shape[0]
        self._index = torch.arange(self._slots, device=positions.device)
        self._positions = positions
        self._cache = cache
        self._span = span
        self._text = text
        self._mask = _visible(positions + 1, span)
        # An idle slot has no text; seeing one position of nothing keeps its numbers numbers.
        self._text_mask = _visible(text_lengths.clamp(min=1), text.shape.capacity) if text else None

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        shape = self._cache.shape
        split = projected.view(self._slots, shape.rows, 3, shape.heads, shape.width)
        buffer = self._cache.buffer[layer, : self._slots]
        buffer[self._index, :, :, :, self._positions] = split[:, :, 1:]
        keys, values = buffer[:, :, :, :, : self._span].flatten(0, 1).unbind(1)
        queries = split[:, :, 0].reshape(-1, shape.heads, 1, shape.width)
        mask = self._mask.repeat_interleave(shape.rows, 0)
        out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return out.view(projected.shape[0], -1)

    def conditional_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[::2]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._text is not None
        shape = self._text.shape
        keys, values = self._text.buffer[layer, : self._slots, 0].unbind(1)
        heads = queries.view(-1, shape.heads, 1, shape.width)
        out = functional.scaled_dot_product_attention(heads, keys, values, attn_mask=self._text_mask)
        return out.view(queries.shape)


def _visible(lengths: torch.Tensor, span: int) -> torch.Tensor:
    """Which of `span` positions each slot may see: bool [slots, 1, 1, span]."""
    return (torch.arange(span, device=lengths.device) < lengths[:, None])[:, None, None]
