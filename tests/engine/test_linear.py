"""Matrix products: right, and the same for a row whatever stands beside it."""

import pytest
import torch

from musicgen_service.engine.linear import Fp16Linear, Int8Linear, Linear, OneDnnLinear
from musicgen_service.engine.precision import Numerics, Precision

SHAPES = [(192, 64), (4096, 1024), (1024, 4096)]
ROWS = [1, 2, 3, 4, 7, 8, 14, 16, 31, 64, 127, 152, 300]
BF16 = Numerics(Precision.BF16, torch.device("cpu"))  # whose form depends on the processor


def forms(outputs: int, inputs: int) -> dict[str, tuple[Linear, torch.Tensor, torch.Tensor]]:
    """Each form with its weight and with rows to multiply."""
    noise = torch.Generator().manual_seed(5)
    weight = torch.randn(outputs, inputs, generator=noise) * inputs**-0.5
    rows = torch.randn(max(ROWS), inputs, generator=noise)
    half = weight.half()
    return {
        "half stored": (Fp16Linear(half), half, rows),
        "float32": (OneDnnLinear(weight), weight, rows),
        "bfloat16": (BF16.pack_weight(weight), weight.bfloat16(), rows.bfloat16()),
        "int8": (Int8Linear(half), half, rows),
    }


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize(
    ("form", "tolerance"), [("half stored", 1e-5), ("float32", 1e-5), ("bfloat16", 2e-2), ("int8", 5e-2)]
)
def test_it_is_the_product(outputs: int, inputs: int, form: str, tolerance: float) -> None:
    linear, weight, rows = forms(outputs, inputs)[form]
    torch.testing.assert_close(linear(rows).double(), rows.double() @ weight.double().T, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("form", ["half stored", "float32", "bfloat16", "int8"])
def test_a_row_does_not_depend_on_its_neighbours(outputs: int, inputs: int, form: str) -> None:
    linear, _, rows = forms(outputs, inputs)[form]
    everything = linear(rows)
    for count in ROWS:
        assert torch.equal(linear(rows[:count]), everything[:count]), count


def test_8_bits_hold_what_few_large_weights_would_drown() -> None:
    noise = torch.Generator().manual_seed(6)
    weight = torch.randn(96, 320, generator=noise) * 0.02
    weight[::3, 7] = 2.0  # at a scale of 2 / 127 the others are 0, 1 or -1
    weight[1::3] *= 30  # large as a whole
    rows = torch.randn(500, 320, generator=noise)
    missed = (Int8Linear(weight)(rows) - rows @ weight.T).square().mean(0).sqrt()
    assert missed.max() < 0.01 * weight.norm(dim=1).square().mean().sqrt()


def test_8_bits_take_rows_of_any_size() -> None:
    noise = torch.Generator().manual_seed(7)
    weight = torch.randn(64, 256, generator=noise)
    rows = torch.randn(5, 256, generator=noise) * torch.tensor([1e-20, 1e-3, 1.0, 1e3, 1e20])[:, None]
    rows[2, 0] = 50.0  # one of them far larger
    products = rows @ weight.T
    size = products.abs().amax(1, keepdim=True)
    torch.testing.assert_close(Int8Linear(weight)(rows) / size, products / size, atol=2e-2, rtol=0)
    assert torch.equal(Int8Linear(weight)(torch.zeros(2, 256)), torch.zeros(2, 64))
