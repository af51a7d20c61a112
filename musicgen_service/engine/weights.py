"""The decoder's weights: read from a state dict with audiocraft's names and fused for decoding."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from musicgen_service.engine.linear import Linear, Norm

PackWeight = Callable[[torch.Tensor], Linear]
"""Packs a weight [outputs, inputs] into the format of its product."""
LAYER = "transformer.layers.{}."
QUERY_KEYS_VALUES, OUT = "self_attn.in_proj_weight", "self_attn.out_proj.weight"
CROSS, CROSS_OUT = "cross_attention.in_proj_weight", "cross_attention.out_proj.weight"
UP, DOWN = "linear1.weight", "linear2.weight"
EMBEDDING, HEAD = "emb.{}.weight", "linears.{}.weight"
"""audiocraft's names of the matrices: of a layer, after `LAYER` with its number; and for each codebook."""
_EPSILON = 1e-5
"""The epsilon of audiocraft's layer normalisation."""


class TakeTensor(Protocol):
    """Takes tensors out of a state dict, each of them once."""

    def __call__(self, name: str, /, *shape: int) -> torch.Tensor:
        """Return the tensor of that name and shape, as a copy on the model's device.

        Raises
        ------
        RuntimeError
            When it is missing or has another shape.
        """
        ...


@dataclass(frozen=True)
class DecoderShape:
    """Sizes of a decoder.

    Attributes
    ----------
    dim : width of the network
    heads : attention heads of a layer
    feedforward : width between the two matrices of a feed-forward block
    codebooks : tokens per frame
    card : number of values of a token
    has_cross_attention : whether its layers attend to a text
    """

    dim: int
    heads: int
    layers: int
    feedforward: int
    codebooks: int
    card: int
    has_cross_attention: bool


@dataclass(frozen=True)
class CrossAttention:
    """The cross-attention of a layer to the text."""

    norm: Norm
    query: Linear
    keys_values: Linear
    out: Linear


@dataclass(frozen=True)
class Layer:
    """One transformer layer."""

    norm: Norm
    query_keys_values: Linear
    out: Linear
    cross: CrossAttention | None
    feedforward_norm: Norm
    up: Linear
    down: Linear


@dataclass(frozen=True)
class Weights:
    """All weights of the decoder.

    Attributes
    ----------
    embedding : float [codebooks, card + 1, dim]
    heads : dim to codebooks * card
    """

    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    norm: Norm
    heads: Linear
    attention_heads: int
    card: int

    @property
    def codebooks(self) -> int:
        """Tokens per frame."""
        return self.embedding.shape[0]

    @property
    def dim(self) -> int:
        """Width of the network."""
        return self.embedding.shape[2]


@torch.no_grad()
def build(
    shape: DecoderShape, take: TakeTensor, pack_weight: PackWeight, pack_heads: PackWeight, dtype: torch.dtype
) -> Weights:
    """Build the decoder's weights layer by layer, so that at most one layer is in memory twice.

    Parameters
    ----------
    take : takes a tensor out of a state dict with audiocraft's names
    pack_weight, pack_heads : pack the matrices of the layers, and the one that computes the logits, which in 8 bits
        would move the likeliest token more often than all others together
    dtype : of embeddings and norms, which are not packed
    """
    dim = shape.dim

    def norm(name: str) -> Norm:
        return Norm(take(f"{name}.weight", dim).to(dtype), take(f"{name}.bias", dim).to(dtype), _EPSILON)

    def matrix(name: str, outputs: int, inputs: int) -> Linear:
        return pack_weight(take(name, outputs, inputs))

    def cross_attention(name: str) -> CrossAttention:
        projections = take(name + CROSS, 3 * dim, dim)
        out = matrix(name + CROSS_OUT, dim, dim)
        return CrossAttention(
            norm(f"{name}norm_cross"), pack_weight(projections[:dim]), pack_weight(projections[dim:]), out
        )

    def layer(name: str) -> Layer:
        return Layer(
            norm=norm(f"{name}norm1"),
            query_keys_values=matrix(name + QUERY_KEYS_VALUES, 3 * dim, dim),
            out=matrix(name + OUT, dim, dim),
            cross=cross_attention(name) if shape.has_cross_attention else None,
            feedforward_norm=norm(f"{name}norm2"),
            up=matrix(name + UP, shape.feedforward, dim),
            down=matrix(name + DOWN, dim, shape.feedforward),
        )

    codebooks = range(shape.codebooks)
    return Weights(
        embedding=torch.stack([take(EMBEDDING.format(k), shape.card + 1, dim).to(dtype) for k in codebooks]),
        layers=tuple(layer(LAYER.format(index)) for index in range(shape.layers)),
        norm=norm("out_norm"),
        heads=pack_heads(torch.cat([take(HEAD.format(k), shape.card, dim) for k in codebooks])),
        attention_heads=shape.heads,
        card=shape.card,
    )
