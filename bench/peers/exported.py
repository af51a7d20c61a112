"""MusicGen's decoder as a torch module that OpenVINO and ONNX Runtime convert, and what is common to running it.

Embedding of tokens and positions happens outside: it takes no time, and leaves one input of floats.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from musicgen_service.engine.interface import ConditionTensors

import torch
from audiocraft.modules.transformer import create_sin_embedding
from torch import nn
from torch.nn import functional

POSITIONS = 4096
"""Positions that are embedded in advance: the longest prefix and a window."""

SelfAttention = Callable[..., tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""From projected columns [2, columns, 3 * dim], the number of heads, earlier keys and values, and whatever else the
network is given: what was read [2, columns, dim], all keys and all values."""


class DecoderModule(nn.Module):
    """The layers of audiocraft's `LMModel`, with keys and values as inputs and outputs.

    Parameters
    ----------
    lm : audiocraft's `LMModel` in float32, whose tensors are used, not copied
    attend : attention of a layer to the columns so far
    """

    def __init__(self, lm: Any, attend: SelfAttention) -> None:
        super().__init__()
        self.layers = lm.transformer.layers
        self.out_norm = lm.out_norm
        self.head = nn.Parameter(torch.cat([head.weight for head in lm.linears]), requires_grad=False)
        self.heads: int = lm.transformer.layers[0].self_attn.num_heads
        self.dim: int = lm.dim
        self._attend = attend

    def forward(self, x: torch.Tensor, text: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Compute the logits that follow new columns.

        Parameters
        ----------
        x : float32 [2, columns, dim], embedded, with the text and without
        text : see `text_keys_values`; not read by a network without cross-attention
        others : keys and values [2, heads, earlier columns, width] of each layer in turn, then what the attention takes

        Returns
        -------
        float32 [2, columns, codebooks * card], then the keys and values, new columns included
        """
        present: list[torch.Tensor] = []
        past, extras = others[: 2 * len(self.layers)], others[2 * len(self.layers) :]
        for index, layer in enumerate(self.layers):
            projected = functional.linear(layer.norm1(x), layer.self_attn.in_proj_weight)
            read, *kept = self._attend(projected, self.heads, *past[2 * index : 2 * index + 2], *extras)
            present += kept
            x = x + layer.self_attn.out_proj(read)
            if layer.cross_attention is not None:
                # The row without a text reads zeros, which adds nothing.
                with_text = x[:1]
                weight = layer.cross_attention.in_proj_weight[: self.dim]
                queries = split(functional.linear(layer.norm_cross(with_text), weight), 1, self.heads)[0]
                keys, values = text[2 * index : 2 * index + 2, None].unbind()
                read = functional.scaled_dot_product_attention(queries, keys, values)
                x = torch.cat([with_text + layer.cross_attention.out_proj(join(read)), x[1:]])
            x = x + layer.linear2(functional.gelu(layer.linear1(layer.norm2(x))))
        return functional.linear(self.out_norm(x), self.head), *present


def split(x: torch.Tensor, parts: int, heads: int) -> torch.Tensor:
    """Split projections [rows, columns, parts * dim] into [parts, rows, heads, columns, width]."""
    rows, columns, wide = x.shape
    return x.view(rows, columns, parts, heads, wide // parts // heads).permute(2, 0, 3, 1, 4)


def join(read: torch.Tensor) -> torch.Tensor:
    """Join what heads have read: [rows, heads, columns, width] to [rows, columns, dim]."""
    return read.transpose(1, 2).flatten(2)


@torch.no_grad()
def text_keys_values(lm: Any, condition: ConditionTensors) -> torch.Tensor:
    """Compute what cross-attention reads: keys and values [2 * layers, heads, positions, width] of each layer in turn.

    They are zeros for a network without cross-attention, which reads none.
    """
    layers, heads = lm.transformer.layers, lm.transformer.layers[0].self_attn.num_heads
    if not condition.texts:
        return torch.zeros(2 * len(layers), heads, 1, lm.dim // heads)
    [text] = condition.texts
    weights = (layer.cross_attention.in_proj_weight[lm.dim :] for layer in layers)
    return torch.cat([split(functional.linear(text[None], weight), 2, heads)[:, 0] for weight in weights])


class ConvertedNetwork(ABC):
    """A `Network` that runs a converted `DecoderModule` on a CPU.

    Parameters
    ----------
    lm : the `LMModel` that was converted, which embeds the tokens
    condition : of every clip
    """

    def __init__(self, lm: Any, condition: ConditionTensors) -> None:
        self._embedding = torch.stack([table.weight for table in lm.emb]).detach()
        self._codebooks = torch.arange(lm.n_q)
        self._positions = create_sin_embedding(torch.arange(POSITIONS)[None, :, None], lm.dim)[0]
        self._prefix = condition.prefix
        self._taken = 0

    def reset(self) -> None:
        """See `Network.reset`."""
        self._taken = 0
        self._forget()

    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        """See `Network`."""
        x = self._embedding[self._codebooks, columns.T].sum(1).expand(2, -1, -1)
        if self._taken == 0 and self._prefix is not None:
            x = torch.cat([self._prefix, x], dim=1)
        end = self._taken + x.shape[1]
        logits = self._run(x + self._positions[self._taken : end], self._taken)
        self._taken = end
        return logits[:, -1].view(2, columns.shape[0], -1)

    @abstractmethod
    def _forget(self) -> None:
        """Forget the keys and values of earlier columns."""

    @abstractmethod
    def _run(self, x: torch.Tensor, taken: int) -> torch.Tensor:
        """Compute the logits [2, columns, codebooks * card] after embedded columns [2, columns, dim].

        Parameters
        ----------
        taken : number of earlier columns
        """
