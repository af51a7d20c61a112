"""Linear layers of the decoder, each in the format that reads weights fastest on one kind of machine.

A decoding step multiplies a few rows with every weight of the network, so its speed is limited by the bandwidth at
which weights are read. On a CPU, every format gives a row of a step bit-identical results regardless of the other rows
in the batch; tests/engine/test_linear.py checks this.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch.nn import functional

from musicgen_service import threads
from musicgen_service.engine import fused

_ROW_MULTIPLE = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 3
"""FBGEMM's float16 product is given a multiple of this many rows. Without AVX-512 it has kernels for one to six rows,
of which those for one and for two rows sum in another order; a multiple of three never uses these."""
_MAX_QUANT_ERROR = 0.01
"""Maximum int8 error of a row, as a share of the matrix's typical row norm (root mean square of the row norms)."""
INPUT_MULTIPLE = 16
"""Inputs that torch's product of int8 weights takes at a time; it reads beyond the end of other numbers of them."""
MAX_STEP_ROWS = 16
"""Rows up to which int8 weights are multiplied as they are; beyond, as in a prefill, they are widened first. The step
loop has no more in a step."""
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


class PackedLinear(Linear):
    """A weight in a format of its own, multiplied on a CPU.

    The product alone is worth several threads: a step's other operations take less time than waking a thread up.

    Parameters
    ----------
    weight : [outputs, inputs], one of which is the network's width
    """

    def __init__(self, weight: torch.Tensor) -> None:
        self._threads = threads.for_width(min(weight.shape))

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        with threads.using(self._threads):
            return self._product(x)

    @abstractmethod
    def _product(self, x: torch.Tensor) -> torch.Tensor:
        """Compute the product."""


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

    def plus(self, change: torch.Tensor) -> "DenseLinear":
        """Return a copy whose weight is the sum with `change`, float32 [outputs, inputs]."""
        return type(self)((self._weight.float() + change).to(self._weight.dtype))


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


class Fp16Linear(PackedLinear):
    """A float32 product whose weight is stored as float16 and widened in registers (FBGEMM).

    Nothing is lost where the weight was stored as float16, as in released checkpoints: the arithmetic is float32, and
    half the bytes are read.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight)
        self._packed = torch.ops.quantized.linear_prepack_fp16(weight.float(), None)

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        missing = -rows % _ROW_MULTIPLE
        if not missing:
            return torch.ops.quantized.linear_dynamic_fp16(x, self._packed)
        return torch.ops.quantized.linear_dynamic_fp16(functional.pad(x, (0, 0, 0, missing)), self._packed)[:rows]


class FloatLinear(PackedLinear):
    """A float32 product whose weight is stored row after row, as float16 where that loses nothing.

    The compiled step reads it so.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight)
        self.weight = (weight.half() if fits_half(weight) else weight.float()).contiguous()
        self.outputs, self.inputs = weight.shape

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        if self.weight.dtype is not torch.float16:
            return functional.linear(x, self.weight)
        # Imported here: numba takes half a second, and narrow networks have no such matrices.
        from musicgen_service.engine.step_kernel import many_rows

        return many_rows.multiply(self.weight, x, self._threads)


class Int8Linear(PackedLinear):
    """A weight stored as int8 with a scale per output, multiplied with bfloat16 rows in float32.

    Where 8 bits would miss an output's weights by more than 1 % of the matrix's typical row norm, because a few of
    them are far larger than the others or because all of them are large, the residual is stored in 8 bits more.
    """

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight)
        weight = weight.float()
        self.outputs, self.inputs = weight.shape
        quantised, scale = _quantise_rows(weight)
        residual = weight - quantised * scale[:, None]
        typical_norm = weight.norm(dim=1).square().mean().sqrt()
        self.residual_rows = (residual.norm(dim=1) > _MAX_QUANT_ERROR * typical_norm).nonzero()[:, 0]
        residual_quantised, residual_scale = _quantise_rows(residual[self.residual_rows])
        self.integers = torch.cat([quantised, residual_quantised]).to(torch.int8)
        self.scale = torch.cat([scale, residual_scale]).bfloat16()

    @cached_property
    def sums(self) -> torch.Tensor:
        """The sum of each row's integers, float32."""
        return self.integers.sum(1, dtype=torch.int32).float()

    @property
    def residual_share(self) -> float:
        """Share of outputs that have a residual and therefore take 16 bits."""
        return len(self.residual_rows) / self.outputs

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[0] <= MAX_STEP_ROWS:
            y = torch.ops.aten._weight_int8pack_mm(x.bfloat16(), self.integers, self.scale).to(x.dtype)
        else:
            dtype = torch.bfloat16 if supports_bf16() else torch.float32
            y = functional.linear(x.to(dtype), self.integers.to(dtype)).to(x.dtype).mul_(self.scale)
        if not len(self.residual_rows):
            return y
        return y[:, : self.outputs].index_add(1, self.residual_rows, y[:, self.outputs :])


def fits_half(weight: torch.Tensor) -> bool:
    """Whether float16 represents a weight without loss."""
    if weight.dtype is torch.float16:
        return True
    # Most weights that do not fit show it in their first row.
    return all(torch.equal(part.half().to(part.dtype), part) for part in (weight[:1], weight))


def supports_bf16() -> bool:
    """Whether oneDNN multiplies bfloat16 on this processor; on x86 that requires AVX-512 or newer."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _quantise_rows(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantise a weight [outputs, inputs] to 8-bit integers (as floats) and a scale per row [outputs].

    The scales are rounded to bfloat16, up, which the product reads.
    """
    scale = weight.abs().amax(dim=1).clamp_min(_TINY) / 127
    rounded = scale.bfloat16().float()
    scale = torch.where(rounded < scale, rounded * (1 + 2**-7), rounded).bfloat16().float()
    return (weight / scale[:, None]).round(), scale


class OneDnnLinear(PackedLinear):
    """A float32 weight in oneDNN's own layout for few rows."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__(weight)
        self._packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 2)

    def _product(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        if rows == 1:
            # A single row would use another kernel, which sums in another order.
            x = x.expand(2, -1)
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, None, "none", [], "")[:rows]


class AdaptedLinear(Linear):
    """A packed weight that others use, too, and beside it the product of two narrow matrices, as LoRA has them.

    Parameters
    ----------
    linear : of the weight [outputs, inputs]
    down, up : float32 [rank, inputs] and [outputs, rank]; their product is added to the weight
    pack : packs them
    """

    def __init__(
        self, linear: Linear, down: torch.Tensor, up: torch.Tensor, pack: Callable[[torch.Tensor], Linear]
    ) -> None:
        self.linear = linear
        self.down = down
        self.up = up
        self._pack = pack

    @cached_property
    def _packed(self) -> tuple[Linear, Linear]:
        # When first needed: a compiled step reads the matrices as they are.
        return self._pack(self.down), self._pack(self.up)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """See `Linear`."""
        down, up = self._packed
        total = self.linear(x)
        up.add_to(total, down(x))
        return total
