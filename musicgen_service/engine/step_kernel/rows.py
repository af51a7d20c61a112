"""Rows in the form in which they are multiplied, and what low-rank products add."""

import numpy as np

from musicgen_service.engine.step_kernel.arithmetic import compiled, peak
from musicgen_service.engine.step_kernel.arrays import MAX_LEVEL
from musicgen_service.engine.step_kernel.dot_products import DIGIT
from musicgen_service.engine.step_kernel.processor import has_vnni

NO_NORM = -1
HALF_DIGIT = DIGIT // 2
_float = np.float32


@compiled
def prepare(source, weights, layer, norm, row, scratch):
    """Copy a row, normalised where there is a norm."""
    count = source.shape[0]
    values = scratch.values[row]
    if norm == NO_NORM:
        for index in range(count):
            values[index] = source[index]
    else:
        scale, shift = weights.norms[layer, norm, 0], weights.norms[layer, norm, 1]
        total = _float(0)
        for index in range(count):
            total += source[index]
        mean = total / _float(count)
        total = _float(0)
        for index in range(count):
            total += (source[index] - mean) * (source[index] - mean)
        factor = _float(1) / np.sqrt(total / _float(count) + weights.epsilon)
        for index in range(count):
            values[index] = (source[index] - mean) * factor * scale[index] + shift[index]


@compiled
def lower(weights, layer, matrix, row, scratch):
    """Multiply a row with the matrix of few outputs that is before the low-rank part's other one."""
    inputs, start = weights.inputs[matrix], weights.down_starts[layer, matrix]
    for rank in range(weights.ranks[layer, matrix]):
        down = weights.down[start + rank * inputs : start + (rank + 1) * inputs]
        total = _float(0)
        for index in range(inputs):
            total += down[index] * scratch.values[row, index]
        scratch.lowered[row, rank] = total


@compiled
def add_low_rank(weights, layer, matrix, rows, begin, end, scratch):
    """Add the low-rank part of some outputs to their products."""
    ranks, start = weights.ranks[layer, matrix], weights.up_starts[layer, matrix]
    for output in range(begin, end):
        up = weights.up[start + output * ranks : start + (output + 1) * ranks]
        for row in range(rows):
            total = _float(0)
            for rank in range(ranks):
                total += up[rank] * scratch.lowered[row, rank]
            scratch.products[row, output - begin] += total


@compiled
def to_levels(count, row, scratch):
    """Write a row as multiples of a step, in the form in which they are multiplied."""
    values = scratch.values[row]
    highest = peak(values[:count])
    inverse = _float(MAX_LEVEL) / highest
    scratch.steps[row] = highest / _float(MAX_LEVEL)
    _write_levels(values, inverse, count, row, scratch)


@compiled
def _write_digits(values, inverse, count, row, scratch):
    first, second = scratch.digits[row, 0], scratch.digits[row, 1]
    for index in range(count):
        level = np.int32(np.rint(values[index] * inverse))
        upper = (level + np.int32(HALF_DIGIT)) >> np.int32(7)
        first[index] = np.uint8(upper + np.int32(DIGIT))
        second[index] = np.uint8(level - upper * np.int32(DIGIT) + np.int32(HALF_DIGIT))


@compiled
def _write_whole(values, inverse, count, row, scratch):
    levels = scratch.levels[row]
    for index in range(count):
        levels[index] = np.int16(np.int32(np.rint(values[index] * inverse)))


_write_levels = _write_digits if has_vnni() else _write_whole
