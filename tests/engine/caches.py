"""Caches of keys and values with something in them."""

import torch

from musicgen_service.engine.cache import KeyValueCache, quantised


def fill(cache: KeyValueCache) -> None:
    """Fill every position with noise, the same for the same seed of torch's and shape."""
    noise = torch.randn(cache.buffer.shape)
    if cache.buffer.dtype is torch.int8:
        noise, scales = quantised(noise)
        cache.scales.copy_(scales)
    cache.buffer.copy_(noise)


def contents(cache: KeyValueCache) -> torch.Tensor:
    """All keys and values as float32, shaped like the cache's buffer."""
    numbers = cache.buffer.float()
    return numbers * cache.scales[..., None] if cache.buffer.dtype is torch.int8 else numbers
