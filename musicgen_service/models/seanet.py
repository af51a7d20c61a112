"""SEANet, the convolutional network of EnCodec (arXiv:2210.13438): its configuration, and its encoder.

Padding is on both sides, as in the codecs that MusicGen was trained with. Weight normalisation is merged into the
weights when they are loaded.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from musicgen_service.models.layers import LSTM, Conv1d

LSTMState = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class SeaNetConfig:
    """Configuration of an encoder and the decoder that mirrors it.

    Attributes
    ----------
    channels : of the audio
    dimension : of a latent frame
    filters : channels of the layers next to the audio; they double with every ratio
    ratios : upsampling factors, from latent to audio
    residual_layers : per ratio
    encoder_lstm, decoder_lstm : layers, 0 for none
    kernel, last_kernel, residual_kernel : sizes in samples
    dilation_base : ratio between the dilations of consecutive residual layers
    compress : factor by which residual layers have fewer inner channels
    pad_mode : `constant` or `reflect`
    has_shortcut_convolution : whether the shortcut of a residual layer is a convolution rather than the identity
    """

    channels: int
    dimension: int
    filters: int
    ratios: tuple[int, ...]
    residual_layers: int
    encoder_lstm: int
    decoder_lstm: int
    kernel: int
    last_kernel: int
    residual_kernel: int
    dilation_base: int
    compress: int
    pad_mode: str
    has_shortcut_convolution: bool

    @property
    def hop(self) -> int:
        """Samples per latent frame."""
        return math.prod(self.ratios)


class Encoder(nn.Module):
    """Encodes audio float [batch, channels, samples] to latents [batch, dimension, ceil(samples / hop)].

    Attributes
    ----------
    prepare_reach, finish_reach : frames on either side that `prepare` and `finish` see
    """

    def __init__(self, config: SeaNetConfig, device: torch.device) -> None:
        super().__init__()
        width = config.filters
        layers: list[nn.Module] = [_Convolution(config.channels, width, config.kernel, config.pad_mode, device)]
        for ratio in reversed(config.ratios):
            layers += _residual_layers(width, config, device)
            layers += [nn.ELU(), _Convolution(width, 2 * width, 2 * ratio, config.pad_mode, device, stride=ratio)]
            width *= 2
        if config.encoder_lstm:
            layers.append(Recurrence(width, config.encoder_lstm, device))
        self._prepared = len(layers) - bool(config.encoder_lstm)
        layers += [nn.ELU(), _Convolution(width, config.dimension, config.last_kernel, config.pad_mode, device)]
        self.layers = nn.Sequential(*layers)
        self.prepare_reach = _prepare_reach(config)
        self.finish_reach = config.last_kernel // 2

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """See the class."""
        latents: torch.Tensor = self.layers(audio)
        return latents

    def prepare(self, audio: torch.Tensor) -> torch.Tensor:
        """The layers before the recurrent one: audio to [batch, width, ceil(samples / hop)]."""
        prepared: torch.Tensor = self.layers[: self._prepared](audio)
        return prepared

    def recur(self, prepared: torch.Tensor, state: LSTMState | None) -> tuple[torch.Tensor, LSTMState | None]:
        """The recurrent layer, if there is one, from a state on: [batch, width, frames] to as much, and a new state."""
        return recur(self.layers[self._prepared], prepared, state)

    def finish(self, recurred: torch.Tensor) -> torch.Tensor:
        """The last layers: [batch, width, frames] to latents [batch, dimension, frames]."""
        latents: torch.Tensor = self.layers[-2:](recurred)
        return latents


def recur(layer: nn.Module, prepared: torch.Tensor, state: LSTMState | None) -> tuple[torch.Tensor, LSTMState | None]:
    """Go on from a state in a layer that may be recurrent; see `Recurrence.step`."""
    return layer.step(prepared, state) if isinstance(layer, Recurrence) else (prepared, None)


def _prepare_reach(config: SeaNetConfig) -> int:
    """Frames on either side that a frame depends on before the recurrent layer of an encoder."""
    reach, samples = config.kernel // 2, 1  # in samples; samples that the present layer has made one of
    for ratio in reversed(config.ratios):
        for layer in range(config.residual_layers):
            reach += config.residual_kernel // 2 * config.dilation_base**layer * samples
        # A last step that is incomplete is completed by the reflection of what precedes it.
        reach += (-(-ratio // 2) + ratio) * samples
        samples *= ratio
    return math.ceil(reach / config.hop)


def _residual_layers(width: int, config: SeaNetConfig, device: torch.device) -> list[nn.Module]:
    return [_Residual(width, config.dilation_base**layer, config, device) for layer in range(config.residual_layers)]


class _Convolution(nn.Module):
    """A convolution whose output has one frame per `stride` samples, including an incomplete last one."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        pad_mode: str,
        device: torch.device,
        stride: int = 1,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        self.conv = Conv1d(inputs, outputs, kernel, stride, dilation=dilation, device=device)
        self.span = (kernel - 1) * dilation + 1
        self.stride = stride
        self.pad_mode = pad_mode

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        overlap = self.span - self.stride
        right = overlap // 2
        incomplete = -x.shape[-1] % self.stride
        result: torch.Tensor = self.conv(pad(x, overlap - right, right + incomplete, self.pad_mode))
        return result


def pad(x: torch.Tensor, left: int, right: int, mode: str) -> torch.Tensor:
    """Pad [batch, channels, time] or [batch, channels, 1, time] in time; returns a copy."""
    others = (0,) * (2 * x.dim() - 6)
    if mode != "reflect":
        return functional.pad(x, (left, right, *others), mode)
    # Input shorter than its reflection is first extended by silence, which is removed afterwards.
    missing = max(0, max(left, right) - x.shape[-1] + 1)
    padded = functional.pad(functional.pad(x, (0, missing)), (left, right, *others), mode)
    return padded[..., : padded.shape[-1] - missing]


class Recurrence(nn.Module):
    """An LSTM over the frames, with a skip connection."""

    def __init__(self, width: int, layers: int, device: torch.device) -> None:
        super().__init__()
        self.lstm = LSTM(width, width, layers, device=device)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """From the beginning on: [batch, width, frames] to as much."""
        return self.step(x, None)[0]

    def step(self, x: torch.Tensor, state: LSTMState | None) -> tuple[torch.Tensor, LSTMState]:
        """Go on from a state: [batch, width, frames] to as much, and the new state."""
        frames = x.permute(2, 0, 1)
        result, state = self.lstm(frames, state)
        return (result + frames).permute(1, 2, 0), state


class _Residual(nn.Module):
    def __init__(self, width: int, dilation: int, config: SeaNetConfig, device: torch.device) -> None:
        super().__init__()
        inner = width // config.compress
        self.block = nn.Sequential(
            nn.ELU(),
            _Convolution(width, inner, config.residual_kernel, config.pad_mode, device, dilation=dilation),
            nn.ELU(),
            _Convolution(inner, width, 1, config.pad_mode, device),
        )
        self.shortcut = (
            _Convolution(width, width, 1, config.pad_mode, device) if config.has_shortcut_convolution else nn.Identity()
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.shortcut(x) + self.block(x)
        return result
