"""The transformer over rows of sequences; the attention backend is passed in."""

import functools
import operator

import torch

from musicgen_service.engine.attention import Attention
from musicgen_service.engine.step_kernel import layers
from musicgen_service.engine.weights import Weights

_MAX_PERIOD = 10_000.0


class Decoder:
    """Computes logits from tokens.

    Parameters
    ----------
    weights : the network's weights
    dtype, device : of the activations
    cache_dtype : of keys and values

    Attributes
    ----------
    positions : the embeddings of the first positions [positions, dim]
    """

    def __init__(self, weights: Weights, dtype: torch.dtype, cache_dtype: torch.dtype, device: torch.device) -> None:
        self.weights = weights
        self.dtype = dtype
        self.cache_dtype = cache_dtype
        self.device = device
        self.codebooks = torch.arange(weights.codebooks, device=device)
        self.positions = _sinusoids(0, weights.dim, device).to(dtype)
        self.compiled = layers.create(weights, cache_dtype)

    def reserve_positions(self, positions: int) -> None:
        """Compute the position embeddings up to `positions`, if not yet computed."""
        if positions > self.positions.shape[0]:
            self.positions = _sinusoids(positions, self.weights.dim, self.device).to(self.dtype)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed tokens int64 [rows, codebooks]: [rows, dim], without position embeddings."""
        tables = self.weights.embedding[self.codebooks, tokens].unbind(1)
        # Added one after the other, as in audiocraft: another order would round differently.
        return functools.reduce(operator.add, tables)

    def position_embedding(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of positions int64 [rows]: [rows, dim]."""
        return self.positions[positions]

    def forward(self, x: torch.Tensor, attention: Attention) -> torch.Tensor:
        """Apply all layers to rows [rows, dim], in place; `attention` stores their keys and values."""
        for index in range(len(self.weights.layers)):
            self.apply_layer(index, x, attention)
        return x

    def apply_layer(self, index: int, x: torch.Tensor, attention: Attention) -> None:
        """Apply one layer to rows [rows, dim], in place."""
        layer = self.weights.layers[index]
        attended = attention.self_attention(index, layer.query_keys_values.of_normalised(layer.norm, x))
        layer.out.add_to(x, attended)
        if layer.cross is not None:
            with_text = attention.text_rows(x)
            queries = layer.cross.query.of_normalised(layer.cross.norm, with_text)
            layer.cross.out.add_to(with_text, attention.cross_attention(index, queries))
        layer.down.add_to(x, layer.up.activated(layer.feedforward_norm, x))

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Compute next-token logits of rows [rows, dim]: float32 [rows, codebooks, card]."""
        scores = self.weights.heads.of_normalised(self.weights.norm, x).float()
        return scores.view(-1, self.weights.codebooks, self.weights.card)


def _sinusoids(positions: int, dim: int, device: torch.device) -> torch.Tensor:
    """Compute audiocraft's position embedding [positions, dim]: cosines, then sines, of decreasing frequency."""
    half = dim // 2
    exponent = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    period = torch.full((), _MAX_PERIOD, device=device) ** exponent
    phase = torch.arange(positions, device=device, dtype=torch.float32)[:, None] / period
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
