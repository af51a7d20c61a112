"""The tensors of all slots, at fixed addresses."""

import torch

from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.gpu_step import GpuStep
from musicgen_service.engine.sampling import Controls

BLOCK = 256
"""Granularity, in positions, of buffer sizes."""


class Buffers:
    """The tensors of a number of slots, at fixed addresses.

    Parameters
    ----------
    slots : number of slots
    capacity : positions per slot, prefix and columns together
    text_capacity : text positions per slot
    text_rows : rows per slot that read text; 2 when there are negative texts
    """

    def __init__(self, decoder: Decoder, slots: int, capacity: int, text_capacity: int, text_rows: int) -> None:
        weights, device = decoder.weights, decoder.device
        heads, width = weights.attention_heads, weights.dim // weights.attention_heads
        shape = CacheShape(len(weights.layers), slots, 2, heads, capacity, width)
        text_shape = CacheShape(len(weights.layers), slots, text_rows, heads, text_capacity, width)
        self.cache = KeyValueCache(shape, decoder.cache_dtype, device)
        sees_text = weights.layers[0].cross is not None
        self.text = KeyValueCache(text_shape, decoder.cache_dtype, device) if sees_text else None
        self.tokens = torch.zeros(slots, weights.codebooks, capacity, dtype=torch.int64, device=device)
        self.noise = torch.ones(slots, weights.codebooks, weights.card, device=device)
        self.controls = Controls.create(slots, device)
        self.text_lengths = torch.zeros(slots, text_rows, dtype=torch.int64, device=device)
        counters = torch.zeros(3, slots, dtype=torch.int64, device=device)
        self.column, self.position, self.active = counters.unbind(0)
        self.gpu_step = GpuStep(decoder)

    @staticmethod
    def bytes_per_slot(decoder: Decoder, capacity: int, text_capacity: int, text_rows: int) -> int:
        """Return the bytes of keys and values of each slot."""
        weights = decoder.weights
        positions = 2 * capacity + (text_capacity * text_rows if weights.layers[0].cross is not None else 0)
        return 2 * len(weights.layers) * weights.dim * positions * decoder.cache_dtype.itemsize

    def fits(self, capacity: int, text_capacity: int, text_rows: int) -> bool:
        """Whether a sequence of the given sizes fits these buffers."""
        text_fits = self.text is None or (
            self.text.shape.capacity >= text_capacity and self.text.shape.rows >= text_rows
        )
        return self.cache.shape.capacity >= capacity and text_fits
