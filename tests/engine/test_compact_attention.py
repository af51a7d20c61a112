"""Attention over compact keys and values is torch's, and that of a slot does not depend on its neighbours."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from musicgen_service import threads
from musicgen_service.engine import attention
from musicgen_service.engine.attention import PerSlotAttention, SlotRows
from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.compact_attention import CompactAttention
from musicgen_service.engine.step_kernel import arithmetic
from tests.engine.caches import contents, fill

SHAPE = CacheShape(layers=2, slots=4, rows=2, heads=3, capacity=300, width=40)
SLOTS = [
    SlotRows(2, length=300, rows=2, text_lengths=(7, 9)),
    SlotRows(0, length=41, rows=2, text_lengths=(1,)),
    SlotRows(3, length=1, rows=1, text_lengths=(4,)),
]
"""In the order of a step."""


def caches() -> tuple[KeyValueCache, KeyValueCache]:
    """Two caches with the same keys and values, compact and in float32."""
    compact, wide = (KeyValueCache(SHAPE, each, torch.device("cpu")) for each in (torch.int8, torch.float32))
    fill(compact)
    wide.buffer.copy_(contents(compact))
    return compact, wide


def results(
    backend: type, cache: KeyValueCache, text: KeyValueCache, slots: list[SlotRows], rows: list[int]
) -> list[torch.Tensor]:
    """What each layer's self-attention and cross-attention give for some of the same rows."""
    computed = backend(cache, text, slots)
    noise = torch.Generator().manual_seed(3)
    projected = torch.randn(5, 3 * SHAPE.heads * SHAPE.width, generator=noise).bfloat16().float()[rows]
    queries = torch.randn(5, SHAPE.heads * SHAPE.width, generator=noise)[rows]
    found = []
    for layer in range(SHAPE.layers):
        found.append(computed.self_attention(layer, projected))
        found.append(computed.cross_attention(layer, computed.text_rows(queries)))
    return found


@pytest.mark.parametrize("shared", [False, True])
def test_result_is_that_of_torch(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_CACHED_BYTES", 0 if shared else 10**12)
    monkeypatch.setattr(threads, "limit", lambda: 3)
    (cache, wide), (text, wide_text) = caches(), caches()
    ours = results(CompactAttention, cache, text, SLOTS, [*range(5)])
    expected = results(PerSlotAttention, wide, wide_text, SLOTS, [*range(5)])
    for found, right in zip(ours, expected, strict=True):
        torch.testing.assert_close(found, right, atol=0.02, rtol=0)
    torch.testing.assert_close(contents(cache), wide.buffer, atol=0.02, rtol=0)


def test_slot_is_independent_of_its_neighbours() -> None:
    cache, _ = caches()
    text, _ = caches()
    together = results(CompactAttention, cache, text, SLOTS, [*range(5)])
    own = [0, 3]  # the rows of the first slot
    alone = results(CompactAttention, cache, text, SLOTS[:1], own)
    for all_rows, found in zip(together, alone, strict=True):
        assert torch.equal(all_rows[own], found)


@pytest.mark.parametrize(
    ("name", "reference", "numbers", "error"),
    [
        ("exp", torch.exp, torch.linspace(-87, 0, 20_001), 3e-7),
        ("gelu", functional.gelu, torch.linspace(-9, 9, 20_001), 5e-7),
    ],
)
def test_function_is_that_of_torch(
    name: str, reference: Callable[[torch.Tensor], torch.Tensor], numbers: torch.Tensor, error: float
) -> None:
    found = np.array([getattr(arithmetic, name)(number) for number in numbers.numpy()], np.float32)
    right = reference(numbers.double())
    difference = (torch.from_numpy(found) - right).abs()
    assert (difference / (right if name == "exp" else 1)).max() < error


def test_exp_of_a_number_far_below_zero_is_next_to_nothing() -> None:
    assert arithmetic.exp(np.float32(-1e30)) < 1e-37
