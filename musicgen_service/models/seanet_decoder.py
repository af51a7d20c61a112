"""The decoder of SEANet: from latents to audio.

Channels lie next to each other in memory (torch's `channels_last`, of one row), in which oneDNN is fastest and a
transposed convolution is a plain one: its outputs at one place are consecutive samples.
"""

import math
from collections.abc import Mapping
from functools import reduce

import torch
from torch import nn
from torch.nn import functional

from musicgen_service.models.layers import Conv2d
from musicgen_service.models.seanet import LSTMState, Recurrence, SeaNetConfig, pad, recur


class Decoder(nn.Module):
    """Decodes latents float [batch, dimension, frames] to audio [batch, channels, frames * hop].

    Attributes
    ----------
    prepare_reach, render_reach : frames on either side that `prepare` and `render` see
    """

    def __init__(self, config: SeaNetConfig, device: torch.device) -> None:
        super().__init__()
        width = config.filters * 2 ** len(config.ratios)
        layers: list[nn.Module] = [_Convolution(config.dimension, width, config.kernel, config.pad_mode, device)]
        if config.decoder_lstm:
            layers.append(Recurrence(width, config.decoder_lstm, device))
        self._rendering = len(layers)
        for ratio in config.ratios:
            layers += [nn.ELU(inplace=True), _Upsampling(width, width // 2, ratio, device)]
            width //= 2
            layers += [_Residual(width, config.dilation_base**n, config, device) for n in range(config.residual_layers)]
        layers += [nn.ELU(inplace=True), _Last(width, config.channels, config.last_kernel, config.pad_mode, device)]
        self.layers = nn.Sequential(*layers)
        nn.utils.convert_conv2d_weight_memory_format(self.layers, torch.channels_last)
        self.prepare_reach = config.kernel // 2
        self.render_reach = _render_reach(config)

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        """See the class."""
        recurred, _ = self.recur(self.prepare(latents), None)
        return self.render(recurred)

    def prepare(self, latents: torch.Tensor) -> torch.Tensor:
        """The first layer: latents [batch, dimension, frames] to [batch, width, frames]."""
        prepared: torch.Tensor = self.layers[0](_as_image(latents))
        return prepared.squeeze(2)

    def recur(self, prepared: torch.Tensor, state: LSTMState | None) -> tuple[torch.Tensor, LSTMState | None]:
        """The recurrent layer, if there is one, from a state on: [batch, width, frames] to as much, and a new state."""
        return recur(self.layers[1], prepared, state)

    def render(self, recurred: torch.Tensor) -> torch.Tensor:
        """All other layers: [batch, width, frames] to audio [batch, channels, frames * hop]."""
        audio: torch.Tensor = self.layers[self._rendering :](_as_image(recurred))
        return audio

    def converted(self, stored: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
        """Its weights in their own form, of a state dict whose other entries stay as they are.

        Parameters
        ----------
        stored : as in the files, weight normalisation merged: [outputs, inputs, taps], of upsampling layers
            [inputs, outputs, taps]
        prefix : of its names in `stored`
        """
        own = dict(stored)
        for name, module in self.named_modules(prefix=prefix):
            if isinstance(module, _Convolution | _Upsampling):
                weight, bias = (stored.get(f"{name}.conv.{kind}") for kind in ("weight", "bias"))
                # What is missing or has another shape is told by whoever fills the module.
                if weight is not None and bias is not None and weight.dim() == 3:
                    own[f"{name}.conv.weight"], own[f"{name}.conv.bias"] = module.convert(weight, bias)
        return own


def _render_reach(config: SeaNetConfig) -> int:
    """Frames on either side that a frame's audio depends on, after the recurrent layer of a decoder."""
    reach, samples = 0.0, 1  # in frames; samples of the present layer in a frame
    for ratio in config.ratios:
        reach += 1 / samples
        samples *= ratio
        for layer in range(config.residual_layers):
            reach += config.residual_kernel // 2 * config.dilation_base**layer / samples
    return math.ceil(reach + config.last_kernel // 2 / samples)


def _as_image(x: torch.Tensor) -> torch.Tensor:
    """[batch, channels, time] to a copy [batch, channels, 1, time] with channels next to each other."""
    return x.unsqueeze(2).clone(memory_format=torch.channels_last)


class _Convolution(nn.Module):
    """A convolution with as many outputs as inputs in time."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, pad_mode: str, device: torch.device, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = Conv2d(inputs, outputs, (1, kernel), dilation=(1, dilation), device=device)
        self.overlap = (kernel - 1) * dilation
        self.pad_mode = pad_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.conv(self.padded(x))
        return result

    def padded(self, x: torch.Tensor) -> torch.Tensor:
        """A copy of its input with what it needs on both sides."""
        right = self.overlap // 2
        return pad(x, self.overlap - right, right, self.pad_mode)

    def convert(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Decoder.converted`."""
        return weight.unsqueeze(2), bias


class _Upsampling(nn.Module):
    """A transposed convolution whose kernel is two steps long.

    An output depends on two inputs next to each other. So a plain convolution with a kernel of two gives, as its
    channels, the outputs of a step.
    """

    def __init__(self, inputs: int, outputs: int, ratio: int, device: torch.device) -> None:
        super().__init__()
        self.conv = Conv2d(inputs, ratio * outputs, (1, 2), padding=(0, 1), device=device)
        self.ratio = ratio
        self.left = ratio - ratio // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps: torch.Tensor = self.conv(x).permute(0, 2, 3, 1)
        samples = steps.reshape(*steps.shape[:2], steps.shape[2] * self.ratio, -1)
        return samples[:, :, self.left : self.left + x.shape[-1] * self.ratio].permute(0, 3, 1, 2)

    def convert(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Decoder.converted`."""
        # [inputs, outputs, 2, ratio]: what the input of this step adds, then what that of the step before adds.
        inputs, outputs, _ = weight.shape
        taps = weight.view(inputs, outputs, 2, self.ratio).flip(2)
        return taps.permute(3, 1, 0, 2).reshape(self.ratio * outputs, inputs, 1, 2), bias.repeat(self.ratio)


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int, config: SeaNetConfig, device: torch.device) -> None:
        super().__init__()
        inner = width // config.compress
        narrow = _Convolution(width, inner, config.residual_kernel, config.pad_mode, device, dilation)
        # Named as in the files, where 0 and 2 are activations.
        self.block = nn.ModuleDict({"1": narrow, "3": _Convolution(inner, width, 1, config.pad_mode, device)})
        self.shortcut = (
            _Convolution(width, width, 1, config.pad_mode, device) if config.has_shortcut_convolution else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        narrow, widen = self.block["1"], self.block["3"]
        assert isinstance(narrow, _Convolution) and isinstance(widen, _Convolution)
        # Padded first: the activation of that copy needs no other one.
        inner = functional.elu_(narrow.conv(functional.elu_(narrow.padded(x))))
        result: torch.Tensor = widen.conv(inner)
        return result.add_(self.shortcut(x))


class _Last(_Convolution):
    """The convolution to [batch, channels, time].

    What each tap adds is an output of its own, as oneDNN computes eight of them as fast as one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, pad_mode: str, device: torch.device) -> None:
        super().__init__(inputs, outputs, kernel, pad_mode, device)
        self.conv = Conv2d(inputs, outputs * kernel, 1, device=device)
        self.kernel = kernel

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = super().forward(x)
        taps = sums.view(len(sums), -1, self.kernel, sums.shape[-1]).unbind(2)
        return reduce(torch.add, (tap[..., n : n + x.shape[-1]] for n, tap in enumerate(taps)))

    def convert(self, weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Decoder.converted`."""
        # The first tap brings the bias.
        biases = functional.pad(bias[:, None], (0, self.kernel - 1))
        return weight.transpose(1, 2).flatten(0, 1)[..., None, None], biases.flatten()
