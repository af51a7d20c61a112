"""Linear layers of the decoder, each in the format that reads weights fastest on one kind of machine.

A decoding step multiplies a few rows with every weight of the network, so its speed is limited by the bandwidth at
which weights are read. On a CPU, every format gives a row bit-identical results regardless of the other rows in the
batch; tests/engine/test_linear.py checks this.
"""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch.nn import functional

from musicgen_service.engine import fused

_ROW_MULTIPLE = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 3
"""FBGEMM's float16 product is given a multiple of this many rows. Without AVX-512 it has kernels for one to six rows,
of which those for one and for two rows sum in another order; a multiple of three never uses these."""
_MAX_QUANT_ERROR = 0.01
"""Maximum int8 error of a row, as a share of the matrix's typical row norm (root mean square of the row norms)."""
_DIGIT_RANGE = 64
"""Digits are integers between minus and plus this."""
_TINY = 1e-30
"""Lower bound of a row's maximum, so that a row of zeros is not divided by zero."""


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last dimension."""

    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class Linear(ABC):
    """`x @ weight.T`: rows [rows, inputs] to [rows, outputs], and what the decoder does before and after it."""

    @abstractmethod
    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""

    def of_normalised(self, norm: Norm, x: torch.Tensor) -> torch.Tensor:
        """Apply it to normalised rows."""
        return self(norm(x))

    def activated(self, norm: Norm, x: torch.Tensor) -> torch.Tensor:
        """Apply it to normalised rows, and GELU to the result."""
        return functional.gelu(self.of_normalised(norm, x))

    def add_to(self, total: torch.Tensor, x: torch.Tensor) -> None:
        """Add the result to `total` [rows, outputs] in place."""
        total += self(x)


class DenseLinear(Linear):
    """An unpacked weight, multiplied by torch's own linear function."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._weight = weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        return functional.linear(x, self._weight)

    def add_to(self, total: torch.Tensor, x: torch.Tensor) -> None:
        """See `Linear`."""
        total.addmm_(x, self._weight.T)


class FusedLinear(DenseLinear):
    """An unpacked weight on a GPU: one kernel for a few rows and what is done to them before and after the product."""

    def of_normalised(self, norm: Norm, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        if not self._is_fused(x):
            return self(_normalised(norm, x))
        return self._product(x, norm)

    def activated(self, norm: Norm, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        if not self._is_fused(x):
            return functional.gelu(self(_normalised(norm, x)))
        return self._product(x, norm, gelu=True)

    def add_to(self, total: torch.Tensor, x: torch.Tensor) -> None:
        """See `Linear`."""
        if not self._is_fused(x):
            super().add_to(total, x)
            return
        fused.product(x, self._weight, None, None, 0.0, False, True, total)

    def _is_fused(self, x: torch.Tensor) -> bool:
        return x.shape[0] <= fused.MAX_ROWS

    def _product(self, x: torch.Tensor, norm: Norm, gelu: bool = False) -> torch.Tensor:
        out = x.new_empty(x.shape[0], self._weight.shape[0])
        fused.product(x, self._weight, norm.weight, norm.bias, norm.epsilon, gelu, False, out)
        return out


def _normalised(norm: Norm, x: torch.Tensor) -> torch.Tensor:
    out = x.new_empty(x.shape)
    fused.normalise(x, norm.weight, norm.bias, norm.epsilon, out)
    return out


class Fp16Linear(Linear):
    """A float32 product whose weight is stored as float16 and widened in registers (FBGEMM).

    Nothing is lost where the weight was stored as float16, as in released checkpoints: the arithmetic is float32, and
    half the bytes are read.
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


class Int8Linear(Linear):
    """A float32 product whose weight is stored as int8 with a scale per output (FBGEMM).

    Where 8 bits would miss an output's weights by more than 1 % of the matrix's typical row norm, because a few of
    them are far larger than the others or because all of them are large, the residual is stored in 8 bits more.

    Input rows are quantised to two 7-bit digits with a scale per row. All sums are then integer, so their order does
    not matter; the second digit reads no further weights; and no sum of two products exceeds 16 bits, at which
    processors without VNNI would saturate.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        weight = weight.float()
        self._outputs = weight.shape[0]
        quantised, scale = _quantise_rows(weight)
        residual = weight - quantised * scale[:, None]
        typical_norm = weight.norm(dim=1).square().mean().sqrt()
        self._residual_rows = (residual.norm(dim=1) > _MAX_QUANT_ERROR * typical_norm).nonzero()[:, 0]
        residual_quantised, residual_scale = _quantise_rows(residual[self._residual_rows])
        scales = torch.cat([scale, residual_scale]).double()
        zeros = torch.zeros(len(scales), dtype=torch.int64)
        integers = torch.cat([quantised, residual_quantised]).to(torch.int8)
        with warnings.catch_warnings():
            # Quantised tensors are deprecated in torch, but its quantised product accepts nothing else yet.
            warnings.simplefilter("ignore", UserWarning)
            tensor = torch._make_per_channel_quantized_tensor(integers, scales, zeros, 0)
        self._packed = torch.ops.quantized.linear_prepack(tensor, None)

    @property
    def residual_share(self) -> float:
        """Share of outputs that have a residual and therefore take 16 bits."""
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


def _quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise a weight [outputs, inputs] to 8-bit integers (as floats) and a scale per row [outputs]."""
    scale = weight.abs().amax(dim=1).clamp_min(_TINY) / 127
    return (weight / scale[:, None]).round(), scale


class OneDnnLinear(Linear):
    """A weight, float32 or bfloat16, in oneDNN's own layout for few rows."""

    def __init__(self, weight: torch.Tensor) -> None:
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 2)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        rows = x.shape[0]
        if rows == 1:
            # A single row would use another kernel, which sums in another order.
            x = x.expand(2, -1)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")[:rows]
