"""The decoder's weights, from a state dict in audiocraft's names, fused for a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn import functional

from musicgen_service.engine.linear import Linear

PackWeight = Callable[[torch.Tensor], Linear]
"""Packs a weight [outputs, inputs] into the form that its products are computed in."""
_EPSILON = 1e-5
"""Of audiocraft's layer normalisation."""


class Take(Protocol):
    """Gives the tensors of a state dict, each once."""

    def __call__(self, name: str, /, *shape: int) -> torch.Tensor:
        """The tensor of a name, as a copy in memory on the model's device.

        Raises
        ------
        RuntimeError
            When it is missing or of another shape.
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
    card : values that a token can have
    has_cross_attention : whether its layers look at a text
    """

    dim: int
    heads: int
    layers: int
    feedforward: int
    codebooks: int
    card: int
    has_cross_attention: bool


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last dimension."""

    weight: torch.Tensor
    bias: torch.Tensor
    epsilon: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Apply it."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True)
class CrossAttention:
    """A layer's look at the text."""

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
    """Everything that a step reads.

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
def build(shape: DecoderShape, take: Take, pack_weight: PackWeight, dtype: torch.dtype) -> Weights:
    """Take the decoder's weights, layer by layer, so that no more than one is in memory twice.

    Parameters
    ----------
    take : gives a tensor of a state dict in audiocraft's names
    pack_weight : how matrices are stored
    dtype : of embeddings and norms, which are kept as they are
    """
    dim = shape.dim

    def norm(name: str) -> Norm:
        return Norm(take(f"{name}.weight", dim).to(dtype), take(f"{name}.bias", dim).to(dtype), _EPSILON)

    def matrix(name: str, outputs: int, inputs: int) -> Linear:
        return pack_weight(take(name, outputs, inputs))

    def cross_attention(name: str) -> CrossAttention:
        projections = take(f"{name}.cross_attention.in_proj_weight", 3 * dim, dim)
        out = matrix(f"{name}.cross_attention.out_proj.weight", dim, dim)
        return CrossAttention(
            norm(f"{name}.norm_cross"), pack_weight(projections[:dim]), pack_weight(projections[dim:]), out
        )

    def layer(name: str) -> Layer:
        return Layer(
            norm=norm(f"{name}.norm1"),
            query_keys_values=matrix(f"{name}.self_attn.in_proj_weight", 3 * dim, dim),
            out=matrix(f"{name}.self_attn.out_proj.weight", dim, dim),
            cross=cross_attention(name) if shape.has_cross_attention else None,
            feedforward_norm=norm(f"{name}.norm2"),
            up=matrix(f"{name}.linear1.weight", shape.feedforward, dim),
            down=matrix(f"{name}.linear2.weight", dim, shape.feedforward),
        )

    books = range(shape.codebooks)
    return Weights(
        embedding=torch.stack([take(f"emb.{book}.weight", shape.card + 1, dim).to(dtype) for book in books]),
        layers=tuple(layer(f"transformer.layers.{index}") for index in range(shape.layers)),
        norm=norm("out_norm"),
        heads=pack_weight(torch.cat([take(f"linears.{book}.weight", shape.card, dim) for book in books])),
        attention_heads=shape.heads,
        card=shape.card,
    )
