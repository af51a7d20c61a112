"""EnCodec (arXiv:2210.13438), the codec between audio and tokens."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from musicgen_service.models import codec_stream
from musicgen_service.models.seanet import Encoder, SeaNetConfig
from musicgen_service.models.seanet_decoder import Decoder


@dataclass(frozen=True)
class CodecConfig:
    """Configuration of a codec.

    Attributes
    ----------
    codebooks : tokens per frame
    card : number of values of a token
    """

    network: SeaNetConfig
    sample_rate: int
    codebooks: int
    card: int


class Encodec(nn.Module):
    """A codec that encodes all channels of the audio together.

    Parameters
    ----------
    config : its configuration
    device : of its weights
    """

    def __init__(self, config: CodecConfig, device: torch.device) -> None:
        super().__init__()
        self.sample_rate = config.sample_rate
        self.channels = config.network.channels
        self.frame_rate = config.sample_rate // config.network.hop
        self.encoder = Encoder(config.network, device)
        self.decoder = Decoder(config.network, device)
        self.quantizer = _Quantizer(config, device)

    @property
    def mono(self) -> "Encodec":
        """The codec itself; see `StereoEncodec.mono`."""
        return self

    def use_codebooks(self, count: int) -> None:
        """Encode with the first `count` codebooks only."""
        self.quantizer.used = count

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode audio float [batch, channels, samples] to tokens int64 [batch, codebooks, ceil(samples / hop)]."""
        pieces = codec_stream.encode(self.encoder, audio, self.sample_rate // self.frame_rate)
        return torch.cat([self.quantizer.encode(latents) for latents in pieces], dim=-1)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens int64 [batch, codebooks, frames] to audio float [batch, channels, frames * hop]."""
        audio: torch.Tensor = self.decoder(self.decode_latent(tokens))
        return audio

    @property
    def lookahead(self) -> int:
        """Frames that must be known after one whose audio is decoded."""
        return self.decoder.prepare_reach + self.decoder.render_reach

    def stream(self, tokens: Iterable[torch.Tensor], sizes: Iterable[int]) -> Iterator[torch.Tensor]:
        """Decode tokens while more arrive; see `codec_stream.decode`."""
        return codec_stream.decode(
            self.decoder, map(self.decode_latent, tokens), self.sample_rate // self.frame_rate, sizes
        )

    def decode_latent(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens int64 [batch, codebooks, frames] to latents float [batch, dimension, frames]."""
        return self.quantizer.decode(tokens)


class StereoEncodec(nn.Module):
    """A stereo codec: left and right each use the same mono codec, and their codebooks alternate, left first.

    Parameters
    ----------
    mono : the mono codec
    """

    def __init__(self, mono: Encodec) -> None:
        super().__init__()
        if mono.channels != 1:
            raise ValueError("a codec for left and right takes one for mono")
        self.mono = mono
        self.sample_rate = mono.sample_rate
        self.frame_rate = mono.frame_rate
        self.channels = 2

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode audio float [batch, 2, samples] to tokens int64 [batch, 2 * codebooks, ceil(samples / hop)]."""
        left, right = (self.mono.encode(channel) for channel in (audio[:, :1], audio[:, 1:]))
        return torch.stack([left, right], dim=2).flatten(1, 2)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens int64 [batch, 2 * codebooks, frames] to audio float [batch, 2, frames * hop]."""
        return torch.cat([self.mono.decode(channel) for channel in self.left_right(tokens)], dim=1)

    @property
    def lookahead(self) -> int:
        """See `Encodec.lookahead`."""
        return self.mono.lookahead

    def stream(self, tokens: Iterable[torch.Tensor], sizes: Iterable[int]) -> Iterator[torch.Tensor]:
        """See `Encodec.stream`."""
        lefts, rights = itertools.tee(map(self.left_right, tokens))
        own_sizes = itertools.tee(sizes)
        left = self.mono.stream((left for left, _ in lefts), own_sizes[0])
        right = self.mono.stream((right for _, right in rights), own_sizes[1])
        for pieces in zip(left, right, strict=True):
            yield torch.cat(pieces, dim=1)

    def left_right(self, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Split tokens into those of the left and of the right channel, int64 [batch, codebooks, frames] each."""
        return tokens[:, ::2], tokens[:, 1::2]


class _Quantizer(nn.Module):
    """Residual vector quantisation: each codebook quantises the residual of those before it."""

    def __init__(self, config: CodecConfig, device: torch.device) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            _Codebook(config.card, config.network.dimension, device) for _ in range(config.codebooks)
        )
        self.used = config.codebooks

    def encode(self, latents: torch.Tensor) -> torch.Tensor:
        tokens = []
        for layer in self.layers[: self.used]:
            assert isinstance(layer, _Codebook)
            indices = layer.nearest(latents)
            latents = latents - layer(indices)
            tokens.append(indices)
        return torch.stack(tokens, dim=1)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        first, *others = (layer(row) for layer, row in zip(self.layers, tokens.unbind(1), strict=False))
        latents: torch.Tensor = first
        for latent in others:
            latents = latents + latent
        return latents


class _Codebook(nn.Module):
    def __init__(self, card: int, dimension: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("embed", torch.empty(card, dimension, device=device))
        self.embed: torch.Tensor

    def nearest(self, latents: torch.Tensor) -> torch.Tensor:
        """Find the nearest vectors to latents float [batch, dimension, frames]: tokens int64 [batch, frames]."""
        rows = latents.transpose(1, 2).flatten(0, 1)
        vectors = self.embed.t()
        # The same formula as in audiocraft: rounding decides between vectors at almost the same distance.
        nearness = -(rows.pow(2).sum(1, keepdim=True) - 2 * rows @ vectors + vectors.pow(2).sum(0, keepdim=True))
        return nearness.max(dim=-1).indices.view(latents.shape[0], -1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Look up the latents float [batch, dimension, frames] of tokens int64 [batch, frames]."""
        return functional.embedding(tokens, self.embed).transpose(1, 2)
