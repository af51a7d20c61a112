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
        own, text = _shapes(decoder, slots, capacity, text_capacity, text_rows)
        self.cache = KeyValueCache(own, decoder.cache_dtype, device)
        self.text = KeyValueCache(text, decoder.cache_dtype, device) if text is not None else None
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
        own, text = _shapes(decoder, 1, capacity, text_capacity, text_rows)
        return sum(shape.bytes(decoder.cache_dtype) for shape in (own, text) if shape is not None)


def _shapes(
    decoder: Decoder, slots: int, capacity: int, text_capacity: int, text_rows: int
) -> tuple[CacheShape, CacheShape | None]:
    """Return the shapes of the sequences' keys and values, and of those of the texts that the decoder attends to."""
    weights = decoder.weights
    heads, width = weights.attention_heads, weights.dim // weights.attention_heads
    sees_text = weights.layers[0].cross is not None
    own = CacheShape(len(weights.layers), slots, 2, heads, capacity, width)
    return own, CacheShape(len(weights.layers), slots, text_rows, heads, text_capacity, width) if sees_text else None
