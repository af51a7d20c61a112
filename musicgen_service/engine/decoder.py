"""The transformer over rows of sequences; the attention backend is passed in."""

import functools
import operator

import torch
from torch.nn import functional

from musicgen_service.engine.attention import Attention
from musicgen_service.engine.weights import Weights

_MAX_PERIOD = 10_000.0


class Decoder:
    """Computes logits from tokens.

    Parameters
    ----------
    weights : the network's weights
    dtype, device : of the activations
    """

    def __init__(self, weights: Weights, dtype: torch.dtype, device: torch.device) -> None:
        self.weights = weights
        self.dtype = dtype
        self.device = device
        self.codebooks = torch.arange(weights.codebooks, device=device)
        self._positions = _sinusoids(0, weights.dim, device).to(dtype)

    def reserve_positions(self, positions: int) -> None:
        """Compute the position embeddings up to `positions`, if not yet computed."""
        if positions > self._positions.shape[0]:
            self._positions = _sinusoids(positions, self.weights.dim, self.device).to(self.dtype)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embed tokens int64 [rows, codebooks]: [rows, dim], without position embeddings."""
        tables = self.weights.embedding[self.codebooks, tokens].unbind(1)
        # Added one after the other, as in audiocraft: another order would round differently.
        return functools.reduce(operator.add, tables)

    def position_embedding(self, positions: torch.Tensor) -> torch.Tensor:
        """Return the embeddings of positions int64 [rows]: [rows, dim]."""
        return self._positions[positions]

    def forward(self, x: torch.Tensor, attention: Attention) -> torch.Tensor:
        """Apply all layers to rows [rows, dim]; `attention` stores their keys and values."""
        for index, layer in enumerate(self.weights.layers):
            attended = attention.self_attention(index, layer.query_keys_values(layer.norm(x)))
            x = x + layer.out(attended)
            if layer.cross is not None:
                with_text = attention.text_rows(x)
                attended = attention.cross_attention(index, layer.cross.query(layer.cross.norm(with_text)))
                with_text += layer.cross.out(attended)
            x = x + layer.down(functional.gelu(layer.up(layer.feedforward_norm(x))))
        return x

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Compute next-token logits of rows [rows, dim]: float32 [rows, codebooks, card]."""
        scores = self.weights.heads(self.weights.norm(x)).float()
        return scores.view(-1, self.weights.codebooks, self.weights.card)


def _sinusoids(positions: int, dim: int, device: torch.device) -> torch.Tensor:
    """Compute audiocraft's position embedding [positions, dim]: cosines, then sines, of decreasing frequency."""
    half = dim // 2
    exponent = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    period = torch.tensor(_MAX_PERIOD, device=device) ** exponent
    phase = torch.arange(positions, device=device, dtype=torch.float32)[:, None] / period
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
