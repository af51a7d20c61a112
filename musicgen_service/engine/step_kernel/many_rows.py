"""Products of many rows with float16 weights, as in a prefill, which are widened in registers and not before."""

from collections.abc import Callable
from concurrent.futures import wait
from functools import cache, partial
from itertools import pairwise
from typing import Any

import torch

from musicgen_service.engine.step_kernel.arithmetic import compiled
from musicgen_service.engine.step_kernel.arrays import BLOCK
from musicgen_service.engine.step_kernel.compiling import prepared
from musicgen_service.engine.step_kernel.layers import pool
from musicgen_service.engine.step_kernel.products import group, multiply_halves

_CHUNK = 32
"""Outputs whose weights stay in a core's cache while all rows are multiplied with them."""


def multiply(weight: torch.Tensor, x: torch.Tensor, threads: int) -> torch.Tensor:
    """Return ``x @ weight.T``, float32 [rows, outputs].

    Parameters
    ----------
    weight : float16 [outputs, inputs], both multiples of 64
    x : float32 [rows, inputs]
    """
    x, out = x.contiguous(), torch.empty(len(x), len(weight))
    chunks = len(weight) // _CHUNK
    bounds = [_CHUNK * round(chunks * part / threads) for part in range(threads + 1)]
    task = partial(kernel(), weight.data_ptr(), x.numpy(), out.numpy())
    first, *others = pairwise(bounds)
    running = [pool().submit(task, *part) for part in others]
    task(*first)
    wait(running)
    for done in running:
        done.result()
    return out


@cache
def kernel() -> Callable[..., Any]:
    """Return the function that multiplies, compiled or read from disk."""
    nothing = torch.empty(0, 0).numpy()
    return prepared(entry_of, 0, nothing, nothing, 0, 0)


@compiled
def _multiply(address, x, out, begin, end):
    """Multiply all rows with the weights of some outputs, so many outputs and rows at a time as stay in a cache."""
    rows, inputs = x.shape
    outputs = out.shape[1]
    for chunk in range(begin, end, _CHUNK):
        row = 0
        while row < rows:
            count = group(rows - row)
            own = x.ctypes.data + 4 * row * inputs
            result = out.ctypes.data + 4 * row * outputs
            for output in range(chunk, min(end, chunk + _CHUNK), BLOCK):
                here, there = address + 2 * output * inputs, result + 4 * output
                multiply_halves(here, own, there, count, inputs, inputs, outputs)
            row += count


def entry_of(version):
    """Return `_multiply` as it is compiled by itself; see `compiling.prepared`."""

    def entry(address, x, out, begin, end):
        if version:
            _multiply(address, x, out, begin, end)

    return entry
