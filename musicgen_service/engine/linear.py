"""Matrix products of the decoder, in the form that reads weights fastest on each kind of machine.

A decoding step multiplies a handful of rows with every weight of the network, so it is as fast as the
weights are read. On a CPU every form here gives a row the same result whatever rows stand beside it, bit
for bit; tests/engine/test_linear.py holds them to it.
"""

import warnings
from typing import Protocol

import torch
from torch.nn import functional

_ROW_MULTIPLE = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 3
"""Rows that FBGEMM's float16 product is given a multiple of. Without AVX-512 they go through kernels for one to six of
them, of which those for one and for two sum in another order; a multiple of three never takes these."""
_MAX_QUANT_ERROR = 0.01
"""Largest error of int8 in a row, as a share of the matrix's typical row (root mean square of the row norms)."""
_DIGIT_RANGE = 64
"""Digits are integers from minus to plus this."""
_TINY = 1e-30
"""Stands for the largest number of a row of zeros."""


class Linear(Protocol):
    """`x @ weight.T`: rows [rows, inputs] to [rows, outputs]."""

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        ...


class DenseLinear:
    """The weight as it is, through torch's own product."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return functional.linear(x, self._weight)


class Fp16Linear:
    """A float32 product whose weight is stored as float16 and widened in registers (FBGEMM).

    Where the weight came as float16, as in released checkpoints, nothing is lost: the arithmetic is that
    of float32 and half the bytes are read.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        rows = x.shape[0]
        missing = -rows % _ROW_MULTIPLE
        if not missing:
            return torch.ops.quantized.linear_dynamic_fp16(x, self._packed)
        return torch.ops.quantized.linear_dynamic_fp16(functional.pad(x, (0, 0, 0, missing)), self._packed)[:rows]


class Int8Linear:
    """A float32 product whose weight is stored as int8 with a scale per output (FBGEMM).

    An output whose weights 8 bits would miss by more than 1 % of what the matrix typically holds, because a few
    of them are far larger than the others or because all of them are large, has the remainder stored beside it, in
    8 bits more.

    Rows become integers of two digits of 7 bits with a scale of their own: all that is summed are integers, so the
    order of the sums does not matter, the second digit costs no weights read, and no sum of two products leaves 16
    bits, which processors without VNNI would saturate at.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        weight = weight.float()
        self._outputs = weight.shape[0]
        whole, scale = _in_8_bits(weight)
        rest = weight - whole * scale[:, None]
        typical = weight.norm(dim=1).square().mean().sqrt()
        self._residual_rows = (rest.norm(dim=1) > _MAX_QUANT_ERROR * typical).nonzero()[:, 0]
        more, more_scale = _in_8_bits(rest[self._residual_rows])
        scales = torch.cat([scale, more_scale]).double()
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        whole = torch.cat([whole, more]).to(torch.int8)
        with warnings.catch_warnings():
            # Quantized tensors are to leave torch, and its product takes no others yet.
            warnings.simplefilter("ignore", UserWarning)
            quantized = torch._make_per_channel_quantized_tensor(whole, scales, zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(quantized, None)

    @property
    def residual_share(self) -> float:
        """Share of outputs that have a residual, and so take 16 bits."""
        return len(self._residual_rows) / self._outputs

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        rows = x.shape[0]
        unit = x.abs().amax(1, keepdim=True).clamp_min_(_TINY) / _DIGIT_RANGE
        scaled = x / unit
        upper = scaled.round()
        digits = torch.cat([upper, (scaled - upper).mul_(2 * _DIGIT_RANGE)])
        both = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
            digits, 1.0, _DIGIT_RANGE, self._packed
        )
        y = torch.add(both[:rows], both[rows:], alpha=0.5 / _DIGIT_RANGE).mul_(unit)
        if not len(self._residual_rows):
            return y
        return y[:, : self._outputs].index_add(1, self._residual_rows, y[:, self._outputs :])


def _in_8_bits(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers (as floats) and the scale of each row [outputs] that make a weight [outputs, inputs]."""
    scale = weight.abs().amax(dim=1).clamp_min(_TINY) / 127
    return (weight / scale[:, None]).round(), scale


class OneDnnLinear:
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
