"""The encoder of T5 (arXiv:1910.10683), used for descriptions."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from musicgen_service.models import state
from musicgen_service.models.layers import Embedding, Linear

_RENAMES = (
    (re.compile(r"^encoder\.block\.(\d+)\.layer\.0\.SelfAttention\."), r"blocks.\1.attention."),
    (re.compile(r"^encoder\.block\.(\d+)\.layer\.0\.layer_norm\."), r"blocks.\1.attention_norm."),
    (re.compile(r"^encoder\.block\.(\d+)\.layer\.1\.DenseReluDense\."), r"blocks.\1.feedforward."),
    (re.compile(r"^encoder\.block\.(\d+)\.layer\.1\.layer_norm\."), r"blocks.\1.feedforward_norm."),
    (re.compile(r"^blocks\.0\.attention\.relative_attention_bias\."), "position_bias.buckets."),
    (re.compile(r"^encoder\.final_layer_norm\."), "norm."),
    (re.compile(r"^(encoder\.embed_tokens|shared)\."), "embedding."),
)


def _gelu(x: torch.Tensor) -> torch.Tensor:
    """The tanh approximation that T5 1.1 was trained with, in transformers' order of operations."""
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"relu": functional.relu, "gelu_new": _gelu}


@dataclass(frozen=True)
class T5Config:
    """Configuration of an encoder, from `config.json` of a folder in transformers' format."""

    vocabulary: int
    width: int
    head_width: int
    heads: int
    feedforward_width: int
    layers: int
    buckets: int
    max_distance: int
    epsilon: float
    activation: str
    is_gated: bool

    @classmethod
    def read(cls, folder: Path) -> "T5Config":
        """Read the configuration.

        Raises
        ------
        ValueError
            When the activation is not one of T5's.
        """
        entries = json.loads((folder / "config.json").read_text())
        gate, _, name = str(entries.get("feed_forward_proj", "relu")).rpartition("-")
        activation = {"gelu": "gelu_new"}.get(name, name)
        if activation not in _ACTIVATIONS or gate not in ("", "gated"):
            raise ValueError(f"a text encoder with '{entries['feed_forward_proj']}' is not known")
        return cls(
            vocabulary=entries["vocab_size"],
            width=entries["d_model"],
            head_width=entries["d_kv"],
            heads=entries["num_heads"],
            feedforward_width=entries["d_ff"],
            layers=entries["num_layers"],
            buckets=entries.get("relative_attention_num_buckets", 32),
            max_distance=entries.get("relative_attention_max_distance", 128),
            epsilon=entries.get("layer_norm_epsilon", 1e-6),
            activation=activation,
            is_gated=gate == "gated",
        )


class T5Encoder(nn.Module):
    """Computes embeddings of tokens, in float32.

    Parameters
    ----------
    config : its configuration
    device : of its weights
    """

    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        self.width = config.width
        self.embedding = Embedding(config.vocabulary, config.width, device=device)
        self.position_bias = _PositionBias(config, device)
        self.blocks = nn.ModuleList(_Block(config, device) for _ in range(config.layers))
        self.norm = _RmsNorm(config, device)

    def forward(self, tokens: torch.Tensor, is_text: torch.Tensor) -> torch.Tensor:
        """Embed texts, one per row: float32 [rows, length, width].

        Parameters
        ----------
        tokens : int64 [rows, length]
        is_text : bool [rows, length], false at padding, which no token attends to
        """
        x = self.embedding(tokens)
        masked = torch.finfo(x.dtype).min
        bias = torch.where(is_text[:, None, None], self.position_bias(tokens.shape[1]), masked)
        for block in self.blocks:
            x = block(x, bias)
        embedded: torch.Tensor = self.norm(x)
        return embedded


def load(folder: Path, device: torch.device) -> T5Encoder:
    """Load the encoder from a folder in transformers' format, which may also hold a decoder.

    Raises
    ------
    OSError, KeyError, ValueError, RuntimeError
        When a file is missing or does not belong to a T5.
    """
    encoder = T5Encoder(T5Config.read(folder), device)
    state.fill(encoder, state.rename(state.read_folder(folder, ("encoder.", "shared.")), _RENAMES))
    return encoder


class _RmsNorm(nn.Module):
    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.width, device=device))
        self.epsilon = config.epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon))


class _PositionBias(nn.Module):
    """Relative position bias: added to the scores of every head by token distance, shared by all layers."""

    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        self.buckets = Embedding(config.buckets, config.heads, device=device)
        self.max_distance = config.max_distance

    def forward(self, length: int) -> torch.Tensor:
        """Compute the bias from each token to each other: float [1, heads, length, length]."""
        positions = torch.arange(length, device=self.buckets.weight.device)
        bias: torch.Tensor = self.buckets(self._bucket(positions[None] - positions[:, None]))
        return bias.permute(2, 0, 1)[None]

    def _bucket(self, distance: torch.Tensor) -> torch.Tensor:
        """Map distances to buckets. Half of the buckets are for later tokens; in each half, the first half are exact
        distances and the others ranges that grow with the logarithm of the distance."""
        half = self.buckets.num_embeddings // 2
        exact = half // 2
        far = distance.abs()
        growth = torch.log(far.float() / exact) / math.log(self.max_distance / exact) * (half - exact)
        # Distance 0 has no logarithm; it is one of the exact distances.
        ranges = (exact + torch.where(far < exact, 0.0, growth).long()).clamp(max=half - 1)
        return torch.where(far < exact, far, ranges) + half * (distance > 0)


class _Attention(nn.Module):
    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        inner = config.heads * config.head_width
        self.q, self.k, self.v = (Linear(config.width, inner, bias=False, device=device) for _ in range(3))
        self.o = Linear(inner, config.width, bias=False, device=device)
        self.head_width = config.head_width

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            projection(x).view(*x.shape[:2], -1, self.head_width).transpose(1, 2)
            for projection in (self.q, self.k, self.v)
        )
        # T5 has the usual scale folded into its weights.
        heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        attended: torch.Tensor = self.o(heads.transpose(1, 2).flatten(2))
        return attended


class _FeedForward(nn.Module):
    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        self.names = ("wi_0", "wi_1") if config.is_gated else ("wi",)
        for name in self.names:
            self.add_module(name, Linear(config.width, config.feedforward_width, bias=False, device=device))
        self.wo = Linear(config.feedforward_width, config.width, bias=False, device=device)
        self.activation = _ACTIVATIONS[config.activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden, *gated = (self.get_submodule(name)(x) for name in self.names)
        hidden = self.activation(hidden)
        result: torch.Tensor = self.wo(hidden * gated[0] if gated else hidden)
        return result


class _Block(nn.Module):
    def __init__(self, config: T5Config, device: torch.device) -> None:
        super().__init__()
        self.attention_norm = _RmsNorm(config, device)
        self.attention = _Attention(config, device)
        self.feedforward_norm = _RmsNorm(config, device)
        self.feedforward = _FeedForward(config, device)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.attention_norm(x), bias)
        result: torch.Tensor = x + self.feedforward(self.feedforward_norm(x))
        return result
