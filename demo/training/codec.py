"""The demo codec: audiocraft's EncodecModel, with an initialisation that plain training would take hours to reach."""

from collections.abc import Callable
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from demo.training import configs
from demo.training.oscillator_init import initialise_oscillators
from demo.training.quantiser import CODEBOOK_SIZE, LATENT_DIMENSION, Quantiser
from musicgen_service.models.audiocraft_adapter import build_codec

Codec = Any  # audiocraft has no type annotations


def config() -> DictConfig:
    """`xp.cfg` of the demo codec: 32 kHz mono, 50 frames a second, 4 codebooks of 512."""
    return configs.codec(16, LATENT_DIMENSION, CODEBOOK_SIZE, {"encoder": {"lstm": 0}})


def create(quantiser: Quantiser, drums: Tensor, others: Tensor) -> Codec:
    """Create a codec with the quantiser's codebooks, and layers scaled on clips ``[batch, samples]``."""
    codec: Codec = build_codec(config())
    for layer, codebook in zip(codec.quantizer.vq.layers, quantiser.codebooks, strict=True):
        layer._codebook.embed.copy_(codebook)
        layer._codebook.embed_avg.copy_(codebook)
        layer._codebook.inited.fill_(1)
    lstm = next(module for module in codec.decoder.modules() if isinstance(module, nn.LSTM))
    _pass_latent_through(codec.decoder.model[0].conv.conv)
    initialise_oscillators(lstm, quantiser)
    _scale_layers(codec.encoder, (drums + others)[:, None], inner=1.0, last=1.0)
    codes = quantiser.encode(quantiser.latent(drums, others))
    # Small values keep the decoder where an ELU is nearly linear, so that it starts as a linear sum of the tones; clips
    # have a standard deviation of about 0.1.
    _scale_layers(codec.decoder, quantiser.decode(codes).transpose(1, 2), inner=0.3, last=0.1, skip=1)
    return codec


@torch.no_grad()
def _pass_latent_through(convolution: Any) -> None:
    """Make the decoder's first convolution copy the latent to its last channels, where the LSTM expects it."""
    weight = torch.empty(convolution.weight.shape).normal_(std=1e-4)
    weight[-LATENT_DIMENSION:] = 0
    weight[range(-LATENT_DIMENSION, 0), range(LATENT_DIMENSION), weight.shape[-1] // 2] = 1
    convolution.weight_v.copy_(weight)
    convolution.weight_g.copy_(weight.flatten(1).norm(dim=1)[:, None, None])
    convolution.bias.zero_()


@torch.no_grad()
def _scale_layers(network: nn.Module, example: Tensor, inner: float, last: float, skip: int = 0) -> None:
    """Scale every convolution's output on `example` to a standard deviation and zero mean.

    With torch's default initialisation the outputs shrink 100-fold and training stalls (a data-dependent initialisation
    as in Mishkin and Matas, "All you need is a good init", 2016).

    Parameters
    ----------
    inner, last : the standard deviation of all layers but the last, and of the last
    skip : number of first layers that are not scaled
    """
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]

    def rescaling_hook(deviation: float) -> Callable[..., Tensor]:
        def hook(layer: Any, _inputs: Any, output: Tensor) -> Tensor:
            mean, factor = output.mean((0, 2)), deviation / (output.std() + 1e-6)
            layer.weight_g.mul_(factor)
            layer.bias.sub_(mean).mul_(factor)
            return (output - mean[None, :, None]) * factor

        return hook

    hooks = [
        layer.register_forward_hook(rescaling_hook(last if layer is convolutions[-1] else inner))
        for layer in convolutions[skip:]
    ]
    network(example)
    for handle in hooks:
        handle.remove()
