"""Linear layers: correct products, and batch-independent results for each row."""

import pytest
import torch

from musicgen_service.engine.linear import (
    MAX_STEP_ROWS,
    DenseLinear,
    FloatLinear,
    Fp16Linear,
    Int8Linear,
    Linear,
    OneDnnLinear,
)
from musicgen_service.engine.precision import Numerics, Precision

SHAPES = [(192, 64), (4096, 1024), (1024, 4096)]
ROWS = [1, 2, 3, 4, 7, 8, 14, 16, 31, 64, 127, 152, 300]
_FOR_ALL = ("float16", "float32", "row by row", "adapted")
"""Forms that give a row the same result in a prefill, too."""
EXACT = Numerics(Precision.EXACT, torch.device("cpu"))


def forms(outputs: int, inputs: int) -> dict[str, tuple[Linear, torch.Tensor, torch.Tensor]]:
    """Each weight format with its weight and with rows to multiply."""
    noise = torch.Generator().manual_seed(5)
    weight = torch.randn(outputs, inputs, generator=noise) * inputs**-0.5
    rows = torch.randn(max(ROWS), inputs, generator=noise)
    half = weight.half()
    down, up = torch.randn(20, inputs, generator=noise) * inputs**-0.5, 0.3 * torch.randn(outputs, 20, generator=noise)
    down = down.half().float()  # as it is stored; `up` also has the strength
    return {
        "float16": (Fp16Linear(half), half, rows),
        "float32": (OneDnnLinear(weight), weight, rows),
        "int8": (Int8Linear(half), half, rows),
        "row by row": (FloatLinear(half), half, rows),
        "adapted": (EXACT.add_product(Fp16Linear(half), down, up), half.float() + up @ down, rows),
        "adapted unpacked": (
            EXACT.add_product(DenseLinear(half.bfloat16()), down, up),
            half.bfloat16().float() + up @ down,
            rows.bfloat16(),
        ),
    }


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize(
    ("form", "tolerance"),
    [
        ("float16", 1e-5),
        ("float32", 1e-5),
        ("row by row", 1e-5),
        ("int8", 5e-2),
        ("adapted", 2e-5),
        ("adapted unpacked", 5e-2),
    ],
)
def test_result_is_the_matrix_product(outputs: int, inputs: int, form: str, tolerance: float) -> None:
    linear, weight, rows = forms(outputs, inputs)[form]
    torch.testing.assert_close(linear(rows).double(), rows.double() @ weight.double().T, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("outputs", "inputs"), SHAPES)
@pytest.mark.parametrize("form", [*_FOR_ALL, "int8"])
def test_row_result_is_independent_of_the_batch(outputs: int, inputs: int, form: str) -> None:
    linear, _, rows = forms(outputs, inputs)[form]
    # The rows of a prefill are those of one sequence, whose number depends on nothing else. For as many, processors
    # with matrix units (AMX) sum in another order.
    counts = [count for count in ROWS if form in _FOR_ALL or count <= MAX_STEP_ROWS]
    rows = rows[: max(counts)]
    all_rows = linear(rows)
    for count in counts:
        assert torch.equal(linear(rows[:count]), all_rows[:count]), count
    totals = all_rows.flip(0)
    linear.add_to(totals, rows)
    for count in counts:
        total = all_rows.flip(0)[:count]
        linear.add_to(total, rows[:count])
        assert torch.equal(total, totals[:count]), count


def test_int8_stays_accurate_with_outlier_weights() -> None:
    noise = torch.Generator().manual_seed(6)
    weight = torch.randn(96, 320, generator=noise) * 0.02
    weight[::3, 7] = 2.0  # at a scale of 2 / 127 the others are 0, 1 or -1
    weight[1::3] *= 30  # large as a whole
    rows = torch.randn(500, 320, generator=noise)
    error = (Int8Linear(weight)(rows) - rows @ weight.T).square().mean(0).sqrt()
    # 1 % of the weights, and the rounding of the rows to bfloat16.
    assert error.max() < 0.012 * weight.norm(dim=1).square().mean().sqrt()


def test_int8_accepts_rows_of_any_magnitude() -> None:
    noise = torch.Generator().manual_seed(7)
    weight = torch.randn(64, 256, generator=noise)
    rows = torch.randn(5, 256, generator=noise) * torch.tensor([1e-20, 1e-3, 1.0, 1e3, 1e20])[:, None]
    rows[2, 0] = 50.0  # one of them far larger
    products = rows @ weight.T
    size = products.abs().amax(1, keepdim=True)
    torch.testing.assert_close(Int8Linear(weight)(rows) / size, products / size, atol=2e-2, rtol=0)
    assert torch.equal(Int8Linear(weight)(torch.zeros(2, 256)), torch.zeros(2, 64))
