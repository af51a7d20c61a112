"""Attention backends of a step on a GPU.

Every tensor has the same shape and address at every step, so that the step can be captured as a CUDA graph. Rows are
those of the first slots, the conditional row of each followed by its unconditional one where the step has both.
"""

import torch
from torch.nn import functional

from musicgen_service.engine import fused
from musicgen_service.engine.cache import KeyValueCache


class FusedAttention:
    """One kernel per layer, which reads exactly the positions that each row has.

    Parameters
    ----------
    cache, text : keys and values of the sequences and of their texts (None for models without cross-attention)
    rows : of each slot in this step, 1 or 2
    positions : int64 [slots], where this step's keys and values are written
    text_lengths : int64 [slots, rows with text]; 0 for a row without text
    scratch : shared by all layers
    """

    def __init__(
        self,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        rows: int,
        positions: torch.Tensor,
        text_lengths: torch.Tensor,
        scratch: fused.Scratch,
    ) -> None:
        self._slots = positions.shape[0]
        self._rows = rows
        self._cache = cache
        self._text = text
        self._positions = positions
        self._text_lengths = text_lengths[:, :rows].contiguous()
        self._scratch = scratch

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        buffer = self._cache.buffer[layer, : self._slots, : self._rows]
        out = projected.new_empty(projected.shape[0], projected.shape[1] // 3)
        fused.attend(projected, buffer, self._positions, True, out, *self._scratch)
        return out

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return _text_rows(self._text, self._rows, x)

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._text is not None
        out = torch.empty_like(queries)
        buffer = self._text.buffer[layer, : self._slots, : self._rows]
        fused.attend(queries, buffer, self._text_lengths, False, out, *self._scratch)
        return out


class BatchedAttention:
    """All slots in one call of torch's attention, with a mask over the positions that a slot does not have.

    Parameters
    ----------
    cache, text, rows, positions, text_lengths : see `FusedAttention`
    span, text_span : number of positions that a call reads; at least those of the longest slot and text
    """

    def __init__(
        self,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        rows: int,
        positions: torch.Tensor,
        text_lengths: torch.Tensor,
        span: int,
        text_span: int,
    ) -> None:
        self._slots = positions.shape[0]
        self._rows = rows
        self._index = torch.arange(self._slots, device=positions.device)
        self._positions = positions
        self._cache = cache
        self._span = span
        self._text_span = text_span
        self._text = text
        dtype = cache.buffer.dtype
        self._mask = _mask((positions + 1).repeat_interleave(rows), span, dtype)
        # A row without text attends to one position of zeros, so that its softmax does not produce NaN.
        text_lengths = text_lengths[:, :rows].flatten().clamp(min=1)
        self._text_mask = _mask(text_lengths, text_span, dtype) if text else None

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        shape = self._cache.shape
        split = projected.view(self._slots, self._rows, 3, shape.heads, shape.width)
        buffer = self._cache.buffer[layer, : self._slots, : self._rows]
        buffer[self._index, :, :, :, self._positions] = split[:, :, 1:]
        keys, values = buffer[:, :, :, :, : self._span].flatten(0, 1).unbind(1)
        queries = split[:, :, 0].reshape(-1, shape.heads, 1, shape.width)
        out = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=self._mask)
        return out.view(projected.shape[0], -1)

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return _text_rows(self._text, self._rows, x)

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._text is not None
        shape = self._text.shape
        buffer = self._text.buffer[layer, : self._slots, : self._rows, :, :, : self._text_span]
        keys, values = buffer.flatten(0, 1).unbind(1)
        heads = queries.view(-1, shape.heads, 1, shape.width)
        out = functional.scaled_dot_product_attention(heads, keys, values, attn_mask=self._text_mask)
        return out.view(queries.shape)


def _text_rows(text: KeyValueCache | None, rows: int, x: torch.Tensor) -> torch.Tensor:
    return x[::rows] if text is None or text.shape.rows == 1 else x


def _mask(lengths: torch.Tensor, span: int, dtype: torch.dtype) -> torch.Tensor:
    """Return what is added to the scores of each row: [rows, 1, 1, span], minus infinity beyond its length.

    In the scores' own dtype, and made once a step: torch would make one of a boolean mask in every layer.
    """
    beyond = torch.arange(span, device=lengths.device) >= lengths[:, None]
    mask = torch.zeros(beyond.shape, dtype=dtype, device=lengths.device).masked_fill_(beyond, -torch.inf)
    return mask[:, None, None]
