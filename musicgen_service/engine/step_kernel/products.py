"""Products of rows with some outputs of a matrix."""

import numpy as np

from musicgen_service.engine.step_kernel.arithmetic import compiled
from musicgen_service.engine.step_kernel.arrays import BLOCK, HALF
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
_int8_pair_extra, _int8_single_extra = _dot_int8(2, 1), _dot_int8(1, 1)
_half_pair, _half_single = dot_floats(2, BLOCK, 16), dot_floats(1, BLOCK, 16)
_half_many = dot_floats(_MANY, BLOCK // 2, 16)  # of half as many outputs, as there are no more registers
_float_pair, _float_single = dot_floats(2, BLOCK, 32), dot_floats(1, BLOCK, 32)


@compiled
def multiply_int8(weights, layer, matrix, rows, begin, end, target, adds, scratch):
    """Multiply rows in levels with the int8 weights of some outputs."""
    start, address, inputs = weights.starts[layer, matrix], weights.addresses[layer, matrix], weights.inputs[matrix]
    levels, stride = scratch.levels.ctypes.data, scratch.levels.shape[1]
    result, more = scratch.result, scratch.result[2 * BLOCK :]
    for output in range(begin, end, BLOCK):
        here = address + output * inputs
        for row in range(0, rows, 2):
            own = levels + row * 2 * stride
            is_pair = row + 1 < rows
            count = 2 if is_pair else 1
            if is_pair:
                _int8_pair(here, own, result.ctypes.data, inputs, stride)
            else:
                _int8_single(here, own, result.ctypes.data, inputs, stride)
            for index in range(BLOCK):
                place = start + output + index
                extra = weights.extra[place]
                if extra >= 0:
                    if is_pair:
                        _int8_pair_extra(address + extra * inputs, own, more.ctypes.data, inputs, stride)
                    else:
                        _int8_single_extra(address + extra * inputs, own, more.ctypes.data, inputs, stride)
                for n in range(count):
                    value = _scaled(weights, place, result[index * count + n])
                    if extra >= 0:
                        value += _scaled(weights, start + extra, more[n])
                    _put(target, row + n, output + index, value * scratch.steps[row + n], adds)


@compiled
def multiply_floats(weights, layer, matrix, rows, begin, end, target, adds, scratch):
    """Multiply rows in float32 with the float16 or float32 weights of some outputs."""
    address, inputs = weights.addresses[layer, matrix], weights.inputs[matrix]
    is_half = weights.forms[layer, matrix] == HALF
    values, stride = scratch.values.ctypes.data, scratch.values.shape[1]
    result = scratch.result
    for output in range(begin, end, BLOCK):
        here = address + output * inputs * (2 if is_half else 4)
        row = 0
        while row < rows:
            own = values + row * stride * 4
            count = _MANY if is_half and rows - row >= _MANY else min(2, rows - row)
            if count == _MANY:
                # Weights are widened for each group of rows, which takes as long as to multiply two rows with them.
                _half_many(here, own, result.ctypes.data, inputs, stride)
                second = here + BLOCK // 2 * inputs * 2
                _half_many(second, own, result[BLOCK // 2 * _MANY :].ctypes.data, inputs, stride)
            elif is_half and count == 2:
                _half_pair(here, own, result.ctypes.data, inputs, stride)
            elif is_half:
                _half_single(here, own, result.ctypes.data, inputs, stride)
            elif count == 2:
                _float_pair(here, own, result.ctypes.data, inputs, stride)
            else:
                _float_single(here, own, result.ctypes.data, inputs, stride)
            for index in range(BLOCK):
                for n in range(count):
                    _put(target, row + n, output + index, result[index * count + n], adds)
            row += count


@compiled
def _scaled(weights, place, total):
    """The product of a row of weights with levels, from that with their digits, which have offsets."""
    return (total - _float(_OFFSET) * weights.sums[place]) * weights.scales[place]


@compiled
def _put(target, row, output, value, adds):
    if adds:
        target[row, output] += value
    else:
        target[row, output] = value
