"""Low-rank products (LoRA) added to the weights of a decoder, which shares all that they do not change."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from musicgen_service.engine import weights
from musicgen_service.engine.linear import Linear
from musicgen_service.engine.weights import CrossAttention, Layer, Weights


@dataclass(frozen=True)
class LowRank:
    """`up @ down`, which is added to a tensor.

    Attributes
    ----------
    down, up : float32 [rank, inputs] and [outputs, rank]
    """

    down: torch.Tensor
    up: torch.Tensor

    def added_to(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the sum with a tensor [outputs, inputs], in float32."""
        return torch.addmm(tensor.float(), self.up.to(tensor.device), self.down.to(tensor.device))


Changes = Callable[[str], LowRank | None]
"""Returns what is added to a tensor by audiocraft's name of it; None for one that stays as it is."""
AddProduct = Callable[[Linear, torch.Tensor, torch.Tensor], Linear]
"""Returns a matrix to which the product of two narrow ones, `down` and `up`, is added."""


@torch.no_grad()
def adapted(base: Weights, changes: Changes, add: AddProduct) -> Weights:
    """Return weights that have what `changes` adds, and share everything else with `base`."""

    def matrix(linear: Linear, change: LowRank | None, rows: slice = slice(None)) -> Linear:
        # Of a matrix that is changed in part, as of queries alone, the others' rows are zeros.
        if change is None or not change.up[rows].any():
            return linear
        return add(linear, change.down, change.up[rows].contiguous())

    def cross_attention(name: str, cross: CrossAttention) -> CrossAttention:
        projections = changes(name + weights.CROSS)
        return replace(
            cross,
            query=matrix(cross.query, projections, slice(base.dim)),
            keys_values=matrix(cross.keys_values, projections, slice(base.dim, None)),
            out=matrix(cross.out, changes(name + weights.CROSS_OUT)),
        )

    def layer(name: str, layer: Layer) -> Layer:
        return replace(
            layer,
            query_keys_values=matrix(layer.query_keys_values, changes(name + weights.QUERY_KEYS_VALUES)),
            out=matrix(layer.out, changes(name + weights.OUT)),
            cross=cross_attention(name, layer.cross) if layer.cross is not None else None,
            up=matrix(layer.up, changes(name + weights.UP)),
            down=matrix(layer.down, changes(name + weights.DOWN)),
        )

    return replace(
        base,
        embedding=_embedding(base, changes),
        layers=tuple(layer(weights.LAYER.format(index), one) for index, one in enumerate(base.layers)),
        heads=matrix(base.heads, _heads(base, changes)),
    )


def _embedding(base: Weights, changes: Changes) -> torch.Tensor:
    """The embedding of all codebooks, a copy where one of them is changed."""
    found = [changes(weights.EMBEDDING.format(k)) for k in range(base.codebooks)]
    if not any(found):
        return base.embedding
    tables = zip(base.embedding, found, strict=True)
    return torch.stack([table if change is None else change.added_to(table).to(table) for table, change in tables])


def _heads(base: Weights, changes: Changes) -> LowRank | None:
    """What is added to the matrix that holds the heads of all codebooks, one below the other."""
    found = [changes(weights.HEAD.format(k)) for k in range(base.codebooks)]
    changed = [change for change in found if change is not None]
    if not changed:
        return None
    ups = [torch.zeros(base.card, 0) if change is None else change.up for change in found]
    up: torch.Tensor = torch.block_diag(*ups)  # type: ignore[no-untyped-call]
    return LowRank(torch.cat([change.down for change in changed]), up)
