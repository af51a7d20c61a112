"""The arrays that the kernel works with."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]

QUERY_KEYS_VALUES, OUT, CROSS_QUERY, CROSS_OUT, UP, DOWN = range(6)
"""The matrices of a layer."""
MATRICES = 6
INT8, HALF, FLOAT = range(3)
"""Forms of their weights."""
BLOCK = 4
"""Outputs that are multiplied at a time."""
LANES = 64
"""Inputs that are multiplied at a time, in one vector or several; numbers of inputs and outputs are multiples of it."""
MAX_INPUTS = 8192
"""Of a matrix: so many of the largest products of integers have a sum that 32 bits hold; see `dot_levels`."""
MAX_LEVEL = 16256
"""The highest value of numbers that are multiplied with integers; in two digits it has 127 in the first."""
MAX_CHUNK = 256
"""Outputs that a thread computes before it takes others."""


class StoredLayers(NamedTuple):
    """The weights of all layers.

    Attributes
    ----------
    addresses : [layers, MATRICES], of the weights [outputs, inputs]
    forms : [layers, MATRICES], of `INT8`, `HALF` and `FLOAT`
    inputs, outputs : [MATRICES]
    starts : [layers, MATRICES], where a matrix's rows begin in the three arrays that follow
    scales : of each row of int8 weights
    sums : of each row of int8 weights, its weights
    extra : the row after the outputs that is added to an output; -1 where there is none
    norms : [layers, 3, 2, dim], weights and biases before self-attention, cross-attention and feed-forward
    epsilon : of the norms
    chunk_bytes : weights that a thread takes at a time
    ranks : [layers, MATRICES], of the low-rank product that is added to a matrix; 0 where there is none
    down_starts, up_starts : [layers, MATRICES], where its two matrices begin in the arrays that follow
    down, up : matrices [rank, inputs] and [outputs, rank], one after the other
    """

    addresses: Integers
    forms: Integers
    inputs: Integers
    outputs: Integers
    starts: Integers
    scales: Floats
    sums: Floats
    extra: Integers
    norms: Floats
    epsilon: np.float32
    chunk_bytes: int
    ranks: Integers
    down_starts: Integers
    up_starts: Integers
    down: Floats
    up: Floats


class Attended(NamedTuple):
    """What rows attend to.

    Attributes
    ----------
    keys_values : float32 or int8, [layers, slots, rows of a slot, 2, heads, positions, width]
    scales : of integers, [layers, slots, rows of a slot, 2, heads, positions]
    places : [rows, 3], of each row its slot, its row there, and its number of positions
    """

    keys_values: npt.NDArray[Any]
    scales: Floats
    places: Integers


class Scratch(NamedTuple):
    """Room of one thread.

    Attributes
    ----------
    values : [rows, widest], rows as they are multiplied with float16 and float32 weights
    levels : [rows, widest], as they are multiplied with int8 weights, in multiples of steps
    digits : [rows, 2, widest], the same memory for levels in two digits
    steps : [rows]
    lowered : [rows, highest rank], between the two matrices of a low-rank product
    products : [rows, MAX_CHUNK + 1], of a chunk's outputs; the last column is for what is added to one of them
    scores : for the positions of a row
    """

    values: Floats
    levels: npt.NDArray[np.int16]
    digits: npt.NDArray[np.uint8]
    steps: Floats
    lowered: Floats
    products: Floats
    scores: Floats
