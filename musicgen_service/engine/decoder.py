"""The transformer over rows of sequences; attention is handed in."""

import functools
import operator

import torch
from torch.nn import functional

from musicgen_service.engine.attention import Attention
from musicgen_service.engine.weights import Weights

_LONGEST_PERIOD = 10_000.0


class Decoder:
    """Tokens to logits.

    Parameters
    ----------
    weights : what it computes with
    dtype, device : of everything between the layers
    """

    def __init__(self, weights: Weights, dtype: torch.dtype, device: torch.device) -> None:
        self.weights = weights
        self.dtype = dtype
        self.device = device
        self.codebooks = torch.arange(weights.codebooks, device=device)
        self._positions = _sinusoids(0, weights.dim, device).to(dtype)

    def reserve_positions(self, positions: int) -> None:
        """Compute the embedding of that many positions, where it is not there yet."""
        if positions > self._positions.shape[0]:
            self._positions = _sinusoids(positions, self.weights.dim, self.device).to(self.dtype)

    def embed(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens int64 [rows, codebooks] to their embedding [rows, dim], positions not yet added."""
        tables = self.weights.embedding[self.codebooks, tokens].unbind(1)
        # One after the other, as audiocraft adds them: another order would round differently.
        return functools.reduce(operator.add, tables)

    def position_embedding(self, positions: torch.Tensor) -> torch.Tensor:
        """Embedding of positions int64 [rows]: [rows, dim]."""
        return self._positions[positions]

    def forward(self, x: torch.Tensor, attention: Attention) -> torch.Tensor:
        """All layers, on rows [rows, dim]; their keys and values are stored by `attention`."""
        for index, layer in enumerate(self.weights.layers):
            attended = attention.self_attention(index, layer.query_keys_values(layer.norm(x)))
            x = x + layer.out(attended)
            if layer.cross is not None:
                seeing = attention.text_rows(x)
                attended = attention.cross_attention(index, layer.cross.query(layer.cross.norm(seeing)))
                seeing += layer.cross.out(attended)
            x = x + layer.down(functional.gelu(layer.up(layer.feedforward_norm(x))))
        return x

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """What follows rows [rows, dim]: float32 [rows, codebooks, card]."""
        scores = self.weights.heads(self.weights.norm(x)).float()
        return scores.view(-1, self.weights.codebooks, self.weights.card)


def _sinusoids(positions: int, dim: int, device: torch.device) -> torch.Tensor:
    """audiocraft's position embedding [positions, dim]: cosines, then sines, of falling frequency."""
    half = dim // 2
    exponent = torch.arange(half, device=device, dtype=torch.float32) / (half - 1)
    period = torch.tensor(_LONGEST_PERIOD, device=device) ** exponent
    phase = torch.arange(positions, device=device, dtype=torch.float32)[:, None] / period
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
