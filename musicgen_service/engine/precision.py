"""Which numbers the decoder computes with on a machine."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from musicgen_service import settings
from musicgen_service.engine.linear import DenseLinear, Fp16Linear, Int8Linear, Linear, OneDnnLinear

_MAX_RESIDUAL_SHARE = 0.5
"""Share of outputs that take 16 bits in `int8` from which on the matrix is as fast in float16, and exact."""


class Precision(StrEnum):
    """How the decoder computes."""

    EXACT = "exact"
    """float32 throughout: the tokens of audiocraft."""
    BF16 = "bf16"
    """bfloat16 throughout, sampling in float32."""
    INT8 = "int8"
    """float32 with weights stored in 8 bits where those do: the least memory; on a CPU."""
    HALF = "half"
    """float16 throughout, sampling in float32; on a GPU."""


@dataclass(frozen=True)
class Numerics:
    """A precision on a device: how weights are stored, and the type of everything else."""

    precision: Precision
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """Of everything that is not a matrix of weights."""
        match self.precision:
            case Precision.BF16:
                return torch.bfloat16
            case Precision.HALF:
                return torch.float16
            case _:
                return torch.float32

    def pack_weight(self, weight: torch.Tensor) -> Linear:
        """Pack a matrix [outputs, inputs] into the form its products are fastest in."""
        if self.device.type == "cuda" or (self.dtype is torch.bfloat16 and not multiplies_bf16()):
            return DenseLinear(weight.to(self.dtype).contiguous())
        if self.precision is Precision.INT8:
            stored = Int8Linear(weight)
            if stored.residual_share <= _MAX_RESIDUAL_SHARE:
                return stored
        if self.dtype is torch.float32 and _has_fbgemm() and _is_half(weight):
            return Fp16Linear(weight)
        return OneDnnLinear(weight.to(self.dtype))


def _has_fbgemm() -> bool:
    """Whether torch has FBGEMM here: on x86 it does."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def multiplies_bf16() -> bool:
    """Whether oneDNN multiplies bfloat16 here: on x86 it takes AVX-512 or newer."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _is_half(weight: torch.Tensor) -> bool:
    """Whether float16 holds a weight without loss."""
    return weight.dtype is torch.float16 or torch.equal(weight.half().to(weight.dtype), weight)


def choose(device: torch.device) -> Precision:
    """The precision set by `MUSICGEN_PRECISION`, or half on a GPU and exact on a CPU.

    Raises
    ------
    SettingsError
        When the setting is not one for this device.
    """
    setting = settings.load().precision
    if setting is None:
        return Precision.HALF if device.type == "cuda" else Precision.EXACT
    precision = Precision(setting)
    unfit = Precision.HALF if device.type == "cpu" else Precision.INT8
    if precision is unfit:
        raise settings.SettingsError(f"MUSICGEN_PRECISION={setting} is not for a {device.type} device.")
    if precision is Precision.INT8 and not _has_fbgemm():
        raise settings.SettingsError(f"MUSICGEN_PRECISION={setting} is for x86 processors.")
    return precision
