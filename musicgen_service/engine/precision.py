"""Numeric precision of the decoder, and its choice for a device."""

from dataclasses import dataclass
from enum import StrEnum

import torch

from musicgen_service import settings
from musicgen_service.engine import fused
from musicgen_service.engine.linear import (
    INPUT_MULTIPLE,
    AdaptedLinear,
    DenseLinear,
    FloatLinear,
    Fp16Linear,
    FusedLinear,
    Int8Linear,
    Linear,
    OneDnnLinear,
    fits_half,
)
from musicgen_service.engine.step_kernel import layers

_MAX_RESIDUAL_SHARE = 0.5
"""Share of outputs with a residual above which int8 is no faster than float16, which is exact."""


class Precision(StrEnum):
    """Numeric precision of the decoder."""

    EXACT = "exact"
    """float32 throughout; gives the same tokens as audiocraft."""
    BF16 = "bf16"
    """bfloat16 throughout, sampling in float32; on a GPU."""
    INT8 = "int8"
    """float32 with weights stored in 8 bits where accurate enough, keys and values, too; on a CPU."""
    HALF = "half"
    """float16 throughout, sampling in float32; on a GPU."""


@dataclass(frozen=True)
class Numerics:
    """A precision on a device: how weights are stored, and the dtype of everything else."""

    precision: Precision
    device: torch.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of everything except weight matrices."""
        match self.precision:
            case Precision.BF16:
                return torch.bfloat16
            case Precision.HALF:
                return torch.float16
            case _:
                return torch.float32

    @property
    def cache_dtype(self) -> torch.dtype:
        """The dtype of keys and values."""
        return torch.int8 if self.precision is Precision.INT8 else self.dtype

    @property
    def weight_bytes(self) -> float:
        """Bytes in memory, at most, of a weight of a layer that is stored as float16, as in released checkpoints."""
        if self.device.type == "cpu" and _has_fbgemm():
            return 1 + _MAX_RESIDUAL_SHARE if self.precision is Precision.INT8 else 2
        return self.dtype.itemsize

    def pack_weight(self, weight: torch.Tensor) -> Linear:
        """Pack a matrix [outputs, inputs] of a layer into the format in which a step reads it fastest."""
        if self.device.type == "cpu":
            if self.precision is Precision.INT8 and weight.shape[1] % INPUT_MULTIPLE == 0:
                int8 = Int8Linear(weight)
                if int8.residual_share <= _MAX_RESIDUAL_SHARE:
                    return int8
            if layers.supports(*weight.shape):
                return FloatLinear(weight)
        return self.pack_unquantised(weight)

    def pack_unquantised(self, weight: torch.Tensor) -> Linear:
        """Pack a matrix [outputs, inputs] that is multiplied by itself, and never in 8 bits."""
        if fused.available(self.device):
            return FusedLinear(weight.to(self.dtype).contiguous())
        if self.device.type == "cuda":
            return DenseLinear(weight.to(self.dtype).contiguous())
        if _has_fbgemm() and fits_half(weight):
            return Fp16Linear(weight)
        return OneDnnLinear(weight.float())

    def add_product(self, linear: Linear, down: torch.Tensor, up: torch.Tensor) -> Linear:
        """Return a matrix to which the product of two narrow ones is added; `linear` stays as it is.

        A packed one is shared: the sum would need a copy, in float32 for `exact`, and the narrow ones are a few percent
        of its bytes. An unpacked one is copied, so that a step on a GPU has no more kernels.

        Parameters
        ----------
        linear : packed by this object, [outputs, inputs]
        down, up : float32 [rank, inputs] and [outputs, rank]
        """
        if isinstance(linear, DenseLinear):
            return linear.plus(up.to(self.device) @ down.to(self.device))
        return AdaptedLinear(linear, down, up, self.pack_unquantised)


def _has_fbgemm() -> bool:
    """Whether this build of torch has FBGEMM; on x86 it does."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def supported(device: torch.device) -> list[Precision]:
    """Return the precisions that are for a device."""
    if device.type == "cuda":
        return [Precision.EXACT, Precision.BF16, Precision.HALF]
    # Not bfloat16: it misses more of float32's tokens than 8 bits do, and a step takes longer than in float32.
    return [Precision.EXACT, *([Precision.INT8] if _has_fbgemm() else [])]


def default(device: torch.device) -> Precision:
    """Return the precision that a device computes in where nobody asks for another: half on a GPU, exact on a CPU."""
    return Precision.HALF if device.type == "cuda" else Precision.EXACT


def choose(device: torch.device) -> Precision | None:
    """Choose the precision: `MUSICGEN_PRECISION`, or else the device's default; None for the fastest.

    Raises
    ------
    SettingsError
        When this device does not support the setting.
    """
    setting = settings.load().precision
    if setting is None:
        return default(device)
    if setting == settings.AUTO_PRECISION:
        return None
    precision = Precision(setting)
    if precision is Precision.INT8 and device.type == "cpu" and not _has_fbgemm():
        raise settings.SettingsError(f"MUSICGEN_PRECISION={setting} is for x86 processors.")
    if precision not in supported(device):
        allowed = ", ".join([*supported(device), settings.AUTO_PRECISION])
        raise settings.SettingsError(
            f"MUSICGEN_PRECISION={setting} is not for a {device.type} device, which has one of {allowed}."
        )
    return precision
