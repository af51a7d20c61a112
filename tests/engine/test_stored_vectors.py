"""Sums over stored keys and values are numpy's, of any width, number of positions and stored type."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from musicgen_service.engine.step_kernel import processor

pytestmark = pytest.mark.skipif(not processor.is_supported(), reason="the processor has no AVX2")

CAPACITY = 40
SHAPES = [(width, length) for width in (8, 64, 80, 128) for length in (1, 15, 16, 37, CAPACITY)]


def stored(kind: str, width: int) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float32]]:
    """Random vectors as they are stored, and as float32."""
    values = torch.randn(CAPACITY, width, generator=torch.Generator().manual_seed(width))
    if kind == "int8":
        integers = (50 * values).clamp(-127, 127).to(torch.int8)
        return integers.numpy(), integers.float().numpy()
    return values.numpy(), values.numpy()


@pytest.mark.parametrize("kind", ["int8", "float32"])
def test_sums_are_those_of_numpy(kind: str) -> None:
    from musicgen_service.engine.step_kernel.arithmetic import compiled
    from musicgen_service.engine.step_kernel.stored_vectors import dots, weighted_sum

    def sums(vector, vectors, weights, length, products, total):  # type: ignore[no-untyped-def]
        dots(vector, vectors, length, products)  # type: ignore[no-untyped-call]
        weighted_sum(weights, vectors, length, total)  # type: ignore[no-untyped-call]

    both: Callable[..., Any] = compiled(sums)

    for width, length in SHAPES:
        vectors, values = stored(kind, width)
        noise = np.random.default_rng(length)
        vector, weights = (noise.standard_normal(size, np.float32) for size in (width, length))
        products, total = np.full(CAPACITY, 7, np.float32), np.full(width, 7, np.float32)
        both(vector, vectors, weights, length, products, total)
        # A vector is multiplied with integers in 15 bits.
        close = 0.2 if kind == "int8" else 1e-2
        np.testing.assert_allclose(products[:length], values[:length] @ vector, rtol=1e-4, atol=close)
        assert (products[length:] == 7).all()
        np.testing.assert_allclose(total, weights @ values[:length], rtol=1e-4, atol=1e-2)


def test_order_of_numbers_is_that_of_their_integers() -> None:
    from musicgen_service.engine.step_kernel.arithmetic import compiled, from_order, order

    def convert(numbers, integers, back):  # type: ignore[no-untyped-def]
        for index in range(len(numbers)):
            integers[index] = order(numbers[index])
            back[index] = from_order(integers[index])

    there_and_back: Callable[..., Any] = compiled(convert)

    numbers = np.array([-np.inf, -3e38, -2.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, 2.5, np.inf], np.float32)
    integers, back = np.zeros(len(numbers), np.int32), np.zeros_like(numbers)
    there_and_back(numbers, integers, back)
    assert (np.diff(integers) > 0).all()
    np.testing.assert_array_equal(back, numbers)
