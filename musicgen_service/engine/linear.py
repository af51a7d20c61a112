"""Matrix products of the decoder, in the form that reads weights fastest on each kind of machine.

A decoding step multiplies a handful of rows with every weight of the network, so it is as fast as the
weights are read. On a CPU every form here gives a row the same result whatever rows stand beside it, bit
for bit; tests/engine/test_linear.py holds them to it.
"""

from typing import Protocol

import torch
from torch.nn import functional


class Linear(Protocol):
    """`x @ weight.T`: rows [rows, inputs] to [rows, outputs]."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        ...


class Plain:
    """The weight as it is, through torch's own product."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return functional.linear(x, self._weight)


class HalfStored:
    """A float32 product whose weight is stored as float16 and widened in registers (FBGEMM).

    Where the weight came as float16, as in released checkpoints, nothing is lost: the arithmetic is that
    of float32 and half the bytes are read.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return torch.ops.quantized.linear_dynamic_fp16(x, self._packed)


class Int8Stored:
    """A bfloat16 product whose weight is stored as int8 with a scale per output."""

    def __init__(self, weight: torch.Tensor) -> None:
        weight = weight.float()
        scale = (weight.abs().amax(dim=1) / 127).clamp_min(torch.finfo(torch.float32).tiny)
        self._weight = (weight / scale[:, None]).round().to(torch.int8)
        self._scale = scale.bfloat16()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return torch.ops.aten._weight_int8pack_mm(x.contiguous(), self._weight, self._scale)


class Reordered:
    """The weight, float32 or bfloat16, in oneDNN's own layout for few rows."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        rows = x.shape[0]
        if rows == 1:
            # One row goes through another kernel, which sums in another order.
            x = x.expand(2, -1)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")[:rows]
