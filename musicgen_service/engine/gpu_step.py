"""One step of the slots on a GPU: the same kernels at the same addresses every time, replayed as a CUDA graph."""

from collections.abc import Callable, Hashable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from musicgen_service.engine import fused
from musicgen_service.engine.cuda_graph import StepGraphs
from musicgen_service.engine.decoder import Decoder
from musicgen_service.engine.gpu_attention import BatchedAttention, FusedAttention
from musicgen_service.engine.pattern import UNKNOWN
from musicgen_service.engine.sampling import draw, guide

if TYPE_CHECKING:
    from musicgen_service.engine.buffers import Buffers

_BLOCK = 256
"""Granularity, in positions, of what a step reads without kernels of our own."""
_TEXT_BLOCK = 32
"""The same for texts, which are short."""


class StepShape(NamedTuple):
    """What decides which kernels a step has.

    Attributes
    ----------
    slots : number of the first slots, whose next column is generated
    rows : of each slot, 2 where any is guided
    kv_length, text_length : positions of the longest slot, including this step's, and of the longest text
    max_top_k, uses_top_p : see `sampling.draw`
    """

    slots: int
    rows: int
    kv_length: int
    text_length: int
    max_top_k: int
    uses_top_p: bool


class GpuStep:
    """Runs the steps of one set of buffers.

    Parameters
    ----------
    decoder : of the model
    """

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._graphs = StepGraphs(decoder.device)
        width = decoder.weights.dim // decoder.weights.attention_heads
        is_fused = fused.available(decoder.device) and fused.supports(width)
        self._scratch = fused.Scratch.create(width, decoder.device) if is_fused else None

    def run(self, buffers: "Buffers", step: StepShape) -> None:
        """Generate the next column of slots; the buffers are the same at every call."""
        self._graphs.run(*self.prepare(buffers, step))

    def prepare(self, buffers: "Buffers", step: StepShape) -> tuple[Hashable, Callable[[], None]]:
        """Return the step that `run` runs, and the key of its shape; see `StepGraphs`."""
        shape, rows, uses_top_p = buffers.cache.shape, step.rows, step.uses_top_p
        # Rounded to a few sizes, so that a few captured graphs cover every step.
        count = min(1 << (step.slots - 1).bit_length(), shape.slots)
        if self._scratch is not None:
            return (count, rows, uses_top_p), partial(self._fused, buffers, self._scratch, count, rows, uses_top_p)
        spans = (
            _rounded(step.kv_length, _BLOCK, shape.capacity),
            _rounded(step.text_length, _TEXT_BLOCK, buffers.text.shape.capacity if buffers.text else 0),
        )
        max_top_k = step.max_top_k and self._decoder.weights.card
        return (count, rows, spans, max_top_k, uses_top_p), partial(
            self._by_torch, buffers, count, rows, spans, max_top_k, uses_top_p
        )

    def _by_torch(
        self, buffers: "Buffers", count: int, rows: int, spans: tuple[int, int], max_top_k: int, uses_top_p: bool
    ) -> None:
        decoder = self._decoder
        tokens, column, position = buffers.tokens[:count], buffers.column[:count], buffers.position[:count]
        here = column[:, None, None].expand(-1, tokens.shape[1], 1)
        x = decoder.embed(tokens.gather(2, here)[..., 0]) + decoder.position_embedding(position)
        attention = BatchedAttention(buffers.cache, buffers.text, rows, position, buffers.text_lengths[:count], *spans)
        hidden = decoder.forward(x.repeat_interleave(rows, 0), attention)
        controls = buffers.controls.first(count)
        logits = decoder.logits(hidden).view(count, rows, *buffers.noise.shape[1:])
        # Without guidance the unconditional row may be anything: its keys and values were never computed.
        conditional, guidance = logits[:, 0], controls.guidance
        guided = torch.where(guidance == 1, conditional, guide(conditional, logits[:, -1], guidance))
        drawn = draw(guided, buffers.noise[:count], controls, max_top_k, uses_top_p)
        following = tokens.gather(2, here + 1)
        tokens.scatter_(2, here + 1, torch.where(following == UNKNOWN, drawn[..., None], following))
        column += buffers.active[:count]
        position += buffers.active[:count]

    def _fused(self, buffers: "Buffers", scratch: fused.Scratch, count: int, rows: int, uses_top_p: bool) -> None:
        decoder = self._decoder
        tokens, column, position = buffers.tokens[:count], buffers.column[:count], buffers.position[:count]
        weights = decoder.weights
        # First, as it launches a kernel of torch's: `embed` has the others wait for what precedes it.
        attention = FusedAttention(buffers.cache, buffers.text, rows, position, buffers.text_lengths[:count], scratch)
        x = torch.empty(count, rows, weights.dim, dtype=decoder.dtype, device=decoder.device)
        fused.embed(tokens, column, position, weights.embedding, decoder.positions, x)
        hidden = decoder.forward(x.view(count * rows, -1), attention)
        logits = weights.heads.of_normalised(weights.norm, hidden)
        controls = buffers.controls.first(count)
        fused.draw(
            logits.view(count, rows, weights.codebooks, weights.card),
            buffers.noise[:count],
            controls.guidance,
            controls.temperature,
            controls.top_k,
            controls.top_p,
            uses_top_p,
            tokens,
            column,
            UNKNOWN,
        )
        column += buffers.active[:count]
        position += buffers.active[:count]


def _rounded(length: int, block: int, most: int) -> int:
    """Round a length that is at least one up to whole blocks."""
    return min(-(-max(length, 1) // block) * block, most)
