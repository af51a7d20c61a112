"""Attention of a step on a CPU over keys and values in 8 bits."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch

from musicgen_service import threads
from musicgen_service.engine.attention import SlotRows, reading_threads, row_places, text_places
from musicgen_service.engine.cache import KeyValueCache


class CompactAttention:
    """A step on a CPU over keys and values in 8 bits; sums are float32.

    Each row and head is computed alone, so a slot's results do not depend on its neighbours. Rows are in the order that
    `PerSlotAttention` explains.

    Parameters
    ----------
    slots : of the step, in their order
    """

    def __init__(self, cache: KeyValueCache, text: KeyValueCache | None, slots: Sequence[SlotRows]) -> None:
        rows, texts = row_places(slots), text_places(slots)
        self._cache = cache
        self._own = _Reading(cache, rows)
        self._texts = _Reading(text, texts) if text else None
        self._text_rows = len(texts)
        slot, row, length = torch.tensor(rows).unbind(1)
        self._target = slot, row, length - 1

    def self_attention(self, layer: int, projected: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        split = projected.view(-1, 3, self._cache.shape.heads, self._cache.shape.width)
        self._cache.write_rows(layer, self._target, split[:, 1:])
        return self._own.attend(layer, split[:, 0])

    def text_rows(self, x: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        return x[: self._text_rows]

    def cross_attention(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """See `Attention`."""
        assert self._texts is not None
        return self._texts.attend(layer, queries.view(-1, self._cache.shape.heads, self._cache.shape.width))


class _Reading:
    """Attention of some rows to what stands in a cache.

    Parameters
    ----------
    places : slot, row of the slot, and number of positions of each row
    """

    def __init__(self, cache: KeyValueCache, places: Sequence[tuple[int, int, int]]) -> None:
        # Imported here: numba takes half a second, and only this precision needs it.
        from musicgen_service.engine import compact_kernels

        shape = cache.shape
        self._layers, self._scales = cache.buffer.numpy(), cache.scales.numpy()
        self._places = np.array(places, np.int64).reshape(-1, 3)
        self._kernel = compact_kernels.attend()
        self._scale = np.float32(shape.width**-0.5)
        count = reading_threads(cache, int(self._places[:, 2].sum()))
        bounds = [round(len(places) * shape.heads * part / count) for part in range(count + 1)]
        longest = max(self._places[:, 2], default=0)
        self._parts = [(*part, np.empty(longest, np.float32)) for part in pairwise(bounds)]

    def attend(self, layer: int, queries: torch.Tensor) -> torch.Tensor:
        """Attend with queries [rows, heads, width]: [rows, heads * width]."""
        assert len(queries) == len(self._places), "the kernel does not check bounds"
        out = torch.empty(queries.shape)
        keys_values = self._layers[layer], self._scales[layer]
        what = queries.contiguous().numpy(), *keys_values, self._places, self._scale, out.numpy()
        first, *others = (partial(self._kernel, *what, *part) for part in self._parts)
        running = [_pool().submit(part) for part in others]
        first()
        for part in running:
            part.result()
        return out.flatten(1)


@cache
def _pool() -> ThreadPoolExecutor:
    """The threads that compute beside a step loop's own."""
    return ThreadPoolExecutor(max(1, threads.limit() - 1), thread_name_prefix="attention")
