"""Kernels of a step's attention on a CPU over keys and values in bfloat16, compiled by numba when first called.

torch reads bfloat16 keys and values more slowly than float32 ones, of twice the size: 52 ms against 19 for a step of
`small` at frame 1400 on two cores. These read them at the speed of memory: 7 ms.
"""

from functools import cache

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_float = np.float32
# Sums may be reordered, so that they are computed in vectors. Infinities and NaN keep their meaning.
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_ROWS = types.float32[:, :, ::1]
_SIGNATURE = types.void(
    _ROWS,
    types.uint16[:, :, :, :, :, ::1],
    types.int64[:, ::1],
    types.float32,
    _ROWS,
    types.int64,
    types.int64,
    types.float32[::1],
)


@intrinsic
def _widen(_, value):
    """The float32 of a bfloat16's bits: they are its upper half."""

    def generate(_, builder, __, arguments):
        return builder.bitcast(builder.shl(builder.zext(arguments[0], _INT), ir.Constant(_INT, 16)), _FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def _bits(_, value):
    return types.int32(types.float32), lambda _, builder, __, arguments: builder.bitcast(arguments[0], _INT)


@intrinsic
def _from_bits(_, value):
    return types.float32(types.int32), lambda _, builder, __, arguments: builder.bitcast(arguments[0], _FLOAT)


@njit(fastmath=False)  # otherwise it has that of its caller, and what is added and taken away again cancels out
def _exp(x):
    """exp of a number up to 0, to 5e-6 of it; numpy's would be called for each number alone.

    2 to the power of an integer goes into the exponent's bits, the fraction between -1/2 and 1/2 into a polynomial, the
    series of 2**fraction.
    """
    power = max(x, _float(-87)) * _float(1.4426950409)  # of less it is no normal number
    rounding = _float(12582912)  # 1.5 * 2**23: a sum with it has the nearest integer in its last bits
    rounded = power + rounding
    fraction = power - (rounded - rounding)
    total = _float(0.0013333558)
    total = total * fraction + _float(0.0096181291)
    total = total * fraction + _float(0.0555041087)
    total = total * fraction + _float(0.2402265070)
    total = total * fraction + _float(0.6931471806)
    total = total * fraction + _float(1.0)
    return _from_bits(_bits(total) + (_bits(rounded) << np.int32(23)))


@cache
def attend(width):
    """Return the kernel for heads of a width.

    It computes the attention of pairs of a row and a head, ``row * heads + head``, from `begin` to `end`:

    queries, out : float32 ``[rows, heads, width]``
    keys_values : bits of bfloat16, uint16 ``[slots, rows of a slot, 2, heads, capacity, width]``
    places : of each row, int64 ``[rows, 3]``: its slot, its row there, and its number of positions
    scale : of the products of queries and keys
    scores : float32, room for one pair's
    """

    # Compiled now, as several threads may call it at the same time.
    @njit(_SIGNATURE, nogil=True, fastmath=_FAST)
    def kernel(queries, keys_values, places, scale, out, begin, end, scores):
        heads = queries.shape[1]
        for pair in range(begin, end):
            row, head = pair // heads, pair % heads
            slot, slot_row, length = places[row, 0], places[row, 1], places[row, 2]
            keys, values = keys_values[slot, slot_row, 0, head], keys_values[slot, slot_row, 1, head]
            for position in range(length):
                product = _float(0)
                for index in range(width):
                    product += queries[row, head, index] * _widen(keys[position, index])
                scores[position] = product * scale
            highest = scores[0]
            for position in range(length):
                highest = scores[position] if scores[position] > highest else highest
            total = _float(0)
            for position in range(length):
                scores[position] = _exp(scores[position] - highest)
                total += scores[position]
            for index in range(width):
                out[row, head, index] = _float(0)
            for position in range(length):
                for index in range(width):
                    out[row, head, index] += scores[position] * _widen(values[position, index])
            for index in range(width):
                out[row, head, index] /= total

    return kernel
