"""The decoder's weights, extracted from audiocraft's language model and fused for a step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from musicgen_service.engine.linear import Linear

PackWeight = Callable[[torch.Tensor], Linear]
"""Packs a weight [outputs, inputs] into the form that its products are computed in."""


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


def is_supported(lm: Any) -> bool:
    """Whether a language model has the architecture of the released MusicGen models, which this engine decodes."""
    transformer = lm.transformer
    plain = all("norm" in name for name, _ in transformer.named_parameters() if name.endswith("bias"))
    layer = transformer.layers[0]
    return (
        plain
        and transformer.positional_embedding == "sin"
        and transformer.positional_scale == 1
        and layer.norm_first
        and layer.self_attn.custom
        and layer.self_attn.kv_repeat == 1
        and layer.self_attn.past_context is None
        and not layer.self_attn.qk_layer_norm
        and isinstance(layer.layer_scale_1, torch.nn.Identity)
        and layer.activation is functional.gelu
        and all(linear.bias is None for linear in lm.linears)
        and set(lm.fuser.cond2fuse.values()) <= {"cross", "prepend"}
        and not lm.fuser.cross_attention_pos_emb
    )


@torch.no_grad()
def extract(lm: Any, pack_weight: PackWeight, dtype: torch.dtype) -> Weights:
    """Move the weights out of `lm`, layer by layer, so that they are never in memory twice.

    `lm` keeps its conditioners and can no longer generate by itself.

    Parameters
    ----------
    pack_weight : how matrices are stored
    dtype : of embeddings and norms, which are kept as they are
    """

    def norm(module: torch.nn.LayerNorm) -> Norm:
        return Norm(module.weight.to(dtype), module.bias.to(dtype), module.eps)

    def cross_attention(layer: Any) -> CrossAttention:
        attention = layer.cross_attention
        query, keys_values = attention.in_proj_weight.split([lm.dim, 2 * lm.dim])
        out = pack_weight(attention.out_proj.weight)
        return CrossAttention(norm(layer.norm_cross), pack_weight(query), pack_weight(keys_values), out)

    heads = lm.transformer.layers[0].self_attn.num_heads
    layers = []
    for index, layer in enumerate(lm.transformer.layers):
        fused = Layer(
            norm=norm(layer.norm1),
            query_keys_values=pack_weight(layer.self_attn.in_proj_weight),
            out=pack_weight(layer.self_attn.out_proj.weight),
            cross=None if layer.cross_attention is None else cross_attention(layer),
            feedforward_norm=norm(layer.norm2),
            up=pack_weight(layer.linear1.weight),
            down=pack_weight(layer.linear2.weight),
        )
        layers.append(fused)
        lm.transformer.layers[index] = torch.nn.Identity()
    weights = Weights(
        embedding=torch.stack([table.weight.to(dtype) for table in lm.emb]),
        layers=tuple(layers),
        norm=norm(lm.out_norm),
        heads=pack_weight(torch.cat([head.weight for head in lm.linears])),
        attention_heads=heads,
        card=lm.card,
    )
    lm.emb, lm.linears, lm.transformer, lm.out_norm = None, None, None, None
    return weights
