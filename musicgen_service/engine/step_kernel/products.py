"""Products of rows with some outputs of a matrix, into ``scratch.products``, the first output in the first column."""

import numpy as np

from musicgen_service.engine.step_kernel.arithmetic import compiled
from musicgen_service.engine.step_kernel.arrays import BLOCK, HALF, MAX_CHUNK
from musicgen_service.engine.step_kernel.dot_products import DIGIT, dot_digits, dot_floats, dot_levels
from musicgen_service.engine.step_kernel.processor import has_vnni
from musicgen_service.engine.step_kernel.rows import HALF_DIGIT

_OFFSET = DIGIT * DIGIT + HALF_DIGIT if has_vnni() else 0
"""What the offsets of both digits add up to: they are stored from 0 on."""
_MANY = 8 if has_vnni() else 4
"""Rows that are multiplied at a time where there are so many, and registers for them; otherwise it is two, or one."""
_float = np.float32
_dot_int8 = dot_digits if has_vnni() else dot_levels
_int8_pair, _int8_single = _dot_int8(2, BLOCK), _dot_int8(1, BLOCK)
_int8_single_extra = _dot_int8(1, 1)
_half_pair, _half_single = dot_floats(2, BLOCK, 16), dot_floats(1, BLOCK, 16)
_half_many = dot_floats(_MANY, BLOCK // 2, 16)  # of half as many outputs, as there are no more registers
_float_pair, _float_single = dot_floats(2, BLOCK, 32), dot_floats(1, BLOCK, 32)


@compiled
def multiply_int8(weights, layer, matrix, rows, begin, end, scratch):
    """Multiply rows in levels with the int8 weights of some outputs."""
    start, address, inputs = weights.starts[layer, matrix], weights.addresses[layer, matrix], weights.inputs[matrix]
    levels, stride = scratch.levels.ctypes.data, scratch.levels.shape[1]
    products, room = scratch.products, scratch.products.shape[1]
    for output in range(begin, end, BLOCK):
        here = address + output * inputs
        for row in range(0, rows, 2):
            own = levels + row * 2 * stride
            result = products[row, output - begin :].ctypes.data
            if row + 1 < rows:
                _int8_pair(here, own, result, inputs, stride, room)
            else:
                _int8_single(here, own, result, inputs, stride, room)
    for row in range(rows):
        _scale(weights, start + begin, products[row, : end - begin])
    for output in range(begin, end):
        extra = weights.extra[start + output]
        if extra >= 0:
            for row in range(rows):
                more = products[row, MAX_CHUNK : MAX_CHUNK + 1]
                own = levels + row * 2 * stride
                _int8_single_extra(address + extra * inputs, own, more.ctypes.data, inputs, stride, room)
                _scale(weights, start + extra, more)
                products[row, output - begin] += more[0]
    for row in range(rows):
        line, step = products[row, : end - begin], scratch.steps[row]
        for index in range(end - begin):
            line[index] *= step


@compiled
def multiply_floats(weights, layer, matrix, rows, begin, end, scratch):
    """Multiply rows in float32 with the float16 or float32 weights of some outputs."""
    address, inputs = weights.addresses[layer, matrix], weights.inputs[matrix]
    is_half = weights.forms[layer, matrix] == HALF
    values, stride = scratch.values.ctypes.data, scratch.values.shape[1]
    products, room = scratch.products, scratch.products.shape[1]
    for output in range(begin, end, BLOCK):
        here = address + output * inputs * (2 if is_half else 4)
        row = 0
        while row < rows:
            own = values + row * stride * 4
            result = products[row, output - begin :].ctypes.data
            count = group(rows - row) if is_half else min(2, rows - row)
            if is_half:
                multiply_halves(here, own, result, count, inputs, stride, room)
            elif count == 2:
                _float_pair(here, own, result, inputs, stride, room)
            else:
                _float_single(here, own, result, inputs, stride, room)
            row += count


@compiled
def group(rows):
    """Return how many of some rows are multiplied with float16 weights at a time."""
    return _MANY if rows >= _MANY else min(2, rows)


@compiled
def multiply_halves(weights, values, result, count, inputs, stride, room):
    """Multiply a group of rows with `BLOCK` outputs; the arguments are those of `dot_floats`."""
    if count == _MANY:
        # Weights are widened for each group of rows, which takes as long as to multiply two rows with them.
        _half_many(weights, values, result, inputs, stride, room)
        _half_many(weights + BLOCK * inputs, values, result + 2 * BLOCK, inputs, stride, room)
    elif count == 2:
        _half_pair(weights, values, result, inputs, stride, room)
    else:
        _half_single(weights, values, result, inputs, stride, room)


@compiled
def _scale(weights, place, products):
    """Turn products of rows of weights, from `place` on, with digits, which have offsets, into those with levels."""
    sums, scales = weights.sums[place:], weights.scales[place:]
    for index in range(len(products)):
        products[index] = (products[index] - _float(_OFFSET) * sums[index]) * scales[index]
