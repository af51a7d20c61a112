"""Functions of numbers that the step's kernel calls, in float32 and in vectors."""

from functools import partial

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_float = np.float32
_FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Sums may be reordered, so that they are computed in vectors. Infinities and NaN keep their meaning."""
compiled = partial(njit, nogil=True, fastmath=_FAST, error_model="numpy")
"""Compiles a function of the kernel. Divisions by zero raise nothing, as nobody else would know of it."""


@intrinsic
def _bits(_, value):
    return types.int32(types.float32), lambda _, builder, __, arguments: builder.bitcast(arguments[0], _INT)


@intrinsic
def _from_bits(_, value):
    return types.float32(types.int32), lambda _, builder, __, arguments: builder.bitcast(arguments[0], _FLOAT)


@compiled
def order(x):
    """Return an int32 that is the higher the higher a number is; unlike floats, integers have their maximum in vectors.

    The bits of floats from 0 on have their order as they are; those of others, with all but the sign turned round.
    """
    bits = _bits(x)
    return bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))


@compiled
def from_order(number):
    """Return the number that `order` made an integer of."""
    return _from_bits(number ^ ((number >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@compiled
def peak(vector):
    """Return the highest absolute value of some numbers, or a little more than 0 where all are 0."""
    top = order(_float(1e-30))
    for index in range(len(vector)):
        top = max(top, order(abs(vector[index])))
    return from_order(top)


# Not fast: otherwise what is added and taken away again cancels out, as in a caller that is.
@njit(fastmath=False, error_model="numpy")
def exp(x):
    """exp of a number up to 0, to 2e-7 of it; numpy's would be called for each number alone.

    2 to the power of an integer goes into the exponent's bits, and what is left of `x`, less than ln(2) / 2, into the
    series of exp.
    """
    x = max(x, _float(-87))  # of less it is no normal number
    rounding = _float(12582912)  # 1.5 * 2**23: a sum with it has the nearest integer in its last bits
    rounded = x * _float(1.4426950409) + rounding
    power = rounded - rounding
    # ln(2) in two parts, of which the first has few bits, so that its product is exact.
    left = (x - power * _float(0.693359375)) + power * _float(0.000212194440)
    total = _float(1 / 5040)
    total = total * left + _float(1 / 720)
    total = total * left + _float(1 / 120)
    total = total * left + _float(1 / 24)
    total = total * left + _float(1 / 6)
    total = total * left + _float(0.5)
    total = total * left + _float(1.0)
    total = total * left + _float(1.0)
    return _from_bits(_bits(total) + (_bits(rounded) << np.int32(23)))


@njit(fastmath=False, error_model="numpy")
def gelu(x):
    """``x * P(normal <= x)``, by the error function's approximation 7.1.26 of Abramowitz and Stegun, to 1.5e-7."""
    size = abs(x) * _float(0.7071067811865476)
    t = _float(1.0) / (_float(1.0) + _float(0.3275911) * size)
    tail = _float(1.061405429)
    tail = tail * t + _float(-1.453152027)
    tail = tail * t + _float(1.421413741)
    tail = tail * t + _float(-0.284496736)
    tail = tail * t + _float(0.254829592)
    tail = _float(0.5) * tail * t * exp(-size * size)
    return x * (tail if x < 0 else _float(1.0) - tail)
