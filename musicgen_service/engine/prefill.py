"""Prefill of a sequence: its text, its prefix and its known columns, a piece at a time."""

import itertools
import math
import time
from collections import deque
from dataclasses import dataclass

import torch

from musicgen_service.engine.attention import PrefillAttention
from musicgen_service.engine.cache import KeyValueCache
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.interface import ConditionTensors

PIECE = 32
"""Positions of a piece. Sequences that are running wait for one piece at a time, or for some layers of it."""


@dataclass
class _Piece:
    """A piece that is being computed.

    Attributes
    ----------
    stop : the position after it
    x : [rows * positions, dim], after the layers so far
    attention : over it and all before it
    layers : how many have been applied
    """

    stop: int
    x: torch.Tensor
    attention: PrefillAttention
    layers: int = 0


class Prefill:
    """The part of a sequence that is known before its first step.

    Its pieces always begin at the same positions, so that the result does not depend on what else is running.

    Parameters
    ----------
    cache, text : receive the keys and values of the positions and of the texts
    slot : the sequence's slot
    rows : number of its rows
    condition : its text and prefix
    columns : int64 [codebooks, columns], its first columns, on the decoder's device
    """

    def __init__(
        self,
        decoder: Decoder,
        cache: KeyValueCache,
        text: KeyValueCache | None,
        slot: int,
        rows: int,
        condition: ConditionTensors,
        columns: torch.Tensor,
    ) -> None:
        self._decoder = decoder
        self._cache = cache
        self._text = text
        self._slot = slot
        self._rows = rows
        self._condition = condition
        self._columns = columns
        self._text_parts = deque(itertools.product(range(len(condition.texts)), range(len(decoder.weights.layers))))
        """The texts and layers whose keys and values are left to compute."""
        self._next = 0
        self._piece: _Piece | None = None
        self.length = condition.prefix_length + columns.shape[1]
        """Positions."""

    @property
    def is_complete(self) -> bool:
        """Whether every piece has been computed."""
        return not self._text_parts and self._next == self.length

    @property
    def next_column(self) -> int:
        """The column that the next piece begins with; negative where it begins with the prefix."""
        return self._next - self._condition.prefix_length

    @torch.inference_mode()
    def advance(self, deadline: float = math.inf) -> torch.Tensor | None:
        """Compute the next piece: the texts first, then `PIECE` positions at a time.

        Parameters
        ----------
        deadline : of `time.monotonic`, after which no further layer, or layer of a text, begins; at least one does

        Returns
        -------
        float tensor [rows, positions, dim] after the last layer; None for the texts, and while layers are left
        """
        if self._text_parts:
            self._write_texts(deadline)
            return None
        piece = self._piece = self._piece or self._begun(self._next)
        count = len(self._decoder.weights.layers)
        while piece.layers < count:
            self._decoder.apply_layer(piece.layers, piece.x, piece.attention)
            piece.layers += 1
            if piece.layers < count and time.monotonic() >= deadline:
                return None
        self._next, self._piece = piece.stop, None
        return piece.x.view(self._rows, -1, piece.x.shape[1])

    def _begun(self, start: int) -> _Piece:
        """Return the piece that begins at a position, before its first layer."""
        stop = min(start + PIECE, self.length)
        x = self._embedded(start, stop)
        x = x + self._decoder.position_embedding(torch.arange(start, stop, device=x.device))
        attention = PrefillAttention(
            self._cache, self._text, self._slot, self._rows, start, stop, self._condition.text_lengths
        )
        return _Piece(stop, x.flatten(0, 1), attention)

    def _embedded(self, start: int, stop: int) -> torch.Tensor:
        """Return the prefix and the embedded columns at some positions: [rows, positions, dim]."""
        first_column = self._condition.prefix_length
        parts = []
        if self._condition.prefix is not None and start < first_column:
            parts.append(self._condition.prefix[: self._rows, start:stop].to(self._decoder.dtype))
        if stop > first_column:
            columns = self._columns[:, max(0, start - first_column) : stop - first_column]
            parts.append(self._decoder.embed(columns.T).expand(self._rows, -1, -1))
        return torch.cat(parts, dim=1)

    def _write_texts(self, deadline: float) -> None:
        cache = self._text
        assert cache is not None
        while self._text_parts:
            row, index = self._text_parts.popleft()
            text, cross = self._condition.texts[row], self._decoder.weights.layers[index].cross
            assert cross is not None
            both = cross.keys_values(text.to(self._decoder.dtype))
            split = both.view(1, text.shape[0], 2, cache.shape.heads, cache.shape.width)
            cache.write(index, self._slot, split.permute(0, 2, 3, 1, 4), row)
            if time.monotonic() >= deadline:
                return
