"""Gives the kernel its arrays and its threads."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache, partial
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
import torch

from musicgen_service import threads
from musicgen_service.engine.attention import SlotRows, row_places, text_places
from musicgen_service.engine.cache import CacheShape, KeyValueCache
from musicgen_service.engine.linear import AdaptedLinear, FloatLinear, Int8Linear, Linear
from musicgen_service.engine.step_kernel import processor
from musicgen_service.engine.step_kernel.arrays import (
    FLOAT,
    HALF,
    INT8,
    LANES,
    MATRICES,
    MAX_CHUNK,
    MAX_INPUTS,
    UP,
    Attended,
    Floats,
    Integers,
    Scratch,
    StoredLayers,
)
from musicgen_service.engine.weights import Layer, Weights

MIN_WIDTH = 513
"""Of the networks whose steps are compiled."""
_MAX_THREADS = 16
"""Of a step: a matrix of 1,024 outputs has no more than some 32 chunks, and threads without one only look for it."""
_FORMS = {torch.int8: INT8, torch.float16: HALF, torch.float32: FLOAT}


def supports(outputs: int, inputs: int) -> bool:
    """Whether a matrix of this shape can be multiplied by the kernel, on this processor."""
    # Narrower networks are done sooner than the kernel is loaded.
    fits = min(inputs, outputs) >= MIN_WIDTH and inputs <= MAX_INPUTS and inputs % LANES == outputs % LANES == 0
    return fits and processor.is_supported()


def create(weights: Weights, cache_dtype: torch.dtype) -> "CompiledLayers | None":
    """Return the layers as one function, or None where one of their matrices is in another form."""
    linears = [linear for layer in weights.layers for linear in _linears(layer)]
    matrices = [matrix for matrix in map(_Matrix.of, linears) if matrix is not None]
    return CompiledLayers(weights, matrices, cache_dtype) if len(matrices) == len(linears) else None


class _Matrix(NamedTuple):
    """A matrix of a layer, and what is added to it.

    Attributes
    ----------
    linear : its weights
    low_rank : what adapters add, each float32 [rank, inputs] and [outputs, rank]
    """

    linear: FloatLinear | Int8Linear
    low_rank: tuple[tuple[torch.Tensor, torch.Tensor], ...]

    @classmethod
    def of(cls, linear: Linear) -> "_Matrix | None":
        """Take a matrix apart; None for one in a form that the kernel does not read."""
        added: list[tuple[torch.Tensor, torch.Tensor]] = []
        while isinstance(linear, AdaptedLinear):
            added.append((linear.down, linear.up))
            linear = linear.linear
        # int8 weights are packed in the same form whether the kernel can read them or not.
        if not isinstance(linear, FloatLinear | Int8Linear) or not supports(linear.outputs, linear.inputs):
            return None
        return cls(linear, tuple(added))

    @property
    def weight(self) -> torch.Tensor:
        """Its rows [outputs, inputs], and of int8 those that are added to some."""
        return self.linear.integers if isinstance(self.linear, Int8Linear) else self.linear.weight

    @property
    def down(self) -> torch.Tensor:
        """[rank, inputs] of all that is added."""
        return torch.cat([torch.empty(0, self.weight.shape[1]), *(down.float() for down, _ in self.low_rank)])

    @property
    def up(self) -> torch.Tensor:
        """[outputs, rank] of all that is added."""
        empty = torch.empty(self.linear.outputs, 0)
        return torch.cat([empty, *(up.float() for _, up in self.low_rank)], dim=1)

    def per_row(self) -> tuple[Floats, Floats, Integers]:
        """Of each row of the weight its scale, the sum of its integers, and the row that is added to it or -1."""
        rows = len(self.weight)
        extra = np.full(rows, -1)
        if isinstance(self.linear, FloatLinear):
            return np.ones(rows, np.float32), np.zeros(rows, np.float32), extra
        residual = self.linear.residual_rows.numpy()
        extra[residual] = self.linear.outputs + np.arange(len(residual))
        return self.linear.scale.float().numpy(), self.linear.sums.numpy(), extra


class CompiledLayers:
    """All layers of a decoder as one function.

    Parameters
    ----------
    weights : of the decoder
    matrices : of all layers, in the kernel's order
    cache_dtype : of keys and values
    """

    def __init__(self, weights: Weights, matrices: Sequence[_Matrix], cache_dtype: torch.dtype) -> None:
        # Imported here: numba takes half a second, and most commands take no steps.
        from musicgen_service.engine.step_kernel import compiling, kernel

        self._prepare = partial(compiling.prepared, kernel.entry_of)
        self._phases = kernel.PHASES
        self._matrices = matrices  # which own what the addresses point to
        shape = len(weights.layers), MATRICES
        first = matrices[:MATRICES]
        scales, sums, extra = (
            np.concatenate(rows) for rows in zip(*(matrix.per_row() for matrix in matrices), strict=True)
        )
        downs, ups = [matrix.down for matrix in matrices], [matrix.up for matrix in matrices]
        ranks = np.array([len(down) for down in downs]).reshape(shape)
        self._threads = min(_MAX_THREADS, threads.for_width(weights.dim))
        self._stored = StoredLayers(
            addresses=np.array([matrix.weight.data_ptr() for matrix in matrices]).reshape(shape),
            forms=np.array([_FORMS[matrix.weight.dtype] for matrix in matrices]).reshape(shape),
            inputs=np.array([matrix.weight.shape[1] for matrix in first]),
            outputs=np.array([matrix.linear.outputs for matrix in first]),
            starts=_starts([len(matrix.weight) for matrix in matrices], shape),
            scales=scales,
            sums=sums,
            extra=extra,
            norms=np.stack([_norms(layer) for layer in weights.layers]),
            epsilon=np.float32(weights.norm.epsilon),
            chunk_bytes=_chunk_bytes(self._threads),
            ranks=ranks,
            down_starts=_starts([down.numel() for down in downs], shape),
            up_starts=_starts([up.numel() for up in ups], shape),
            down=torch.cat([down.flatten() for down in downs]).numpy(),
            up=torch.cat([up.flatten() for up in ups]).numpy(),
        )
        self._dim, self._rank = weights.dim, int(ranks.max())
        self._widest = max(self._dim, int(self._stored.outputs[UP]))
        self._helping: list[Future[None]] = []
        self._step = self._compile(cache_dtype)

    def forward(
        self, x: torch.Tensor, cache: KeyValueCache, text: KeyValueCache | None, slots: Sequence[SlotRows]
    ) -> torch.Tensor:
        """Apply all layers to the rows of a step, in place, and store their keys and values.

        Parameters
        ----------
        x : float32 [rows, dim], the conditional rows of all slots, then the unconditional ones of those that have one
        cache, text : keys and values of the sequences and of their texts
        slots : of the step, in the order of `SlotRows.order`
        """
        places, texts = row_places(slots), text_places(slots) if text is not None else []
        own, others = _attended(cache, places), _attended(text or cache, texts)
        longest = max(place[2] for place in [*places, *texts])
        shared = self._shared(self._stored, x, own, others)
        # A thread that has not got round to the last step yet would be later still for this one.
        self._helping = [helping for helping in self._helping if not helping.done()]
        while len(self._helping) < self._threads - 1:
            self._helping.append(pool().submit(self._step, *shared, self._scratch(len(x), longest)))
        self._step(*shared, self._scratch(len(x), longest))
        return x

    def _compile(self, cache_dtype: torch.dtype) -> Callable[..., None]:
        """Have the kernel compiled or read from disk, by a step through no layers, before the first request."""
        nothing = _attended(KeyValueCache(CacheShape(0, 0, 0, 0, 0, 0), cache_dtype, torch.device("cpu")), [])
        no_layers = self._stored._replace(addresses=self._stored.addresses[:0])
        shared = self._shared(no_layers, torch.empty(0, self._dim), nothing, nothing)
        return self._prepare(*shared, self._scratch(0, 0))

    def _shared(self, stored: StoredLayers, x: torch.Tensor, own: Attended, text: Attended) -> tuple[Any, ...]:
        """Arguments of the kernel that its threads share."""
        rows = len(x)
        return (
            stored,
            own,
            text,
            x.numpy(),
            np.empty((rows, 3 * self._dim), np.float32),
            np.empty((rows, self._dim), np.float32),
            np.empty((rows, self._widest), np.float32),
            np.zeros((len(stored.addresses) * self._phases, 2), np.int64),
        )

    def _scratch(self, rows: int, longest: int) -> Scratch:
        levels = np.empty((rows, self._widest), np.int16)
        return Scratch(
            values=np.empty((rows, self._widest), np.float32),
            levels=levels,
            digits=levels.view(np.uint8).reshape(rows, 2, self._widest),
            steps=np.empty(rows, np.float32),
            lowered=np.empty((rows, self._rank), np.float32),
            products=np.empty((rows, MAX_CHUNK + 1), np.float32),
            scores=np.empty(longest, np.float32),
        )


def _linears(layer: Layer) -> list[Linear]:
    # Without cross-attention, what stands in its place is not read.
    cross = (layer.cross.query, layer.cross.out) if layer.cross is not None else (layer.out, layer.out)
    return [layer.query_keys_values, layer.out, *cross, layer.up, layer.down]


def _norms(layer: Layer) -> Floats:
    """Weights and biases of a layer's norms: float32 [3, 2, dim]."""
    norms = (layer.norm, layer.cross.norm if layer.cross is not None else layer.norm, layer.feedforward_norm)
    return np.stack([np.stack([norm.weight.float().numpy(), norm.bias.float().numpy()]) for norm in norms])


def _chunk_bytes(count: int) -> int:
    """Weights that each of some threads takes at a time: a chunk begins slowly, and threads wait for the last one."""
    return min(131_072, max(32_768, 262_144 // count))


def _starts(lengths: Sequence[int], shape: tuple[int, int]) -> Integers:
    """Where parts of these lengths begin, one after the other."""
    return np.array([0, *accumulate(lengths)][:-1]).reshape(shape)


def _attended(cache: KeyValueCache, places: Sequence[tuple[int, int, int]]) -> Attended:
    return Attended(cache.buffer.numpy(), cache.scales.numpy(), np.array(places, np.int64).reshape(-1, 3))


@cache
def pool() -> ThreadPoolExecutor:
    """The threads that compute beside a step loop's own."""
    return ThreadPoolExecutor(max(1, threads.limit() - 1), thread_name_prefix="step")
