"""Keys and values as they are stored: as float32, or as integers of 8 bits with a scale."""

import numpy as np
from numba import types
from numba.extending import overload

_float = np.float32
_MOST = 127


def scale_at(position, stored, scales):
    """Return the scale of the numbers at a position."""
    raise NotImplementedError("for compiled functions")


@overload(scale_at, inline="always")
def _scale_at(position, stored, scales):
    if stored.dtype is types.int8:
        return lambda position, stored, scales: scales[position]
    return lambda position, stored, scales: _float(1)


def store(vector, position, stored, scales):
    """Store a float32 vector at a position of float32 numbers or integers."""
    raise NotImplementedError("for compiled functions")


@overload(store, jit_options={"error_model": "numpy"})
def _store(vector, position, stored, scales):
    def as_integers(vector, position, stored, scales):
        highest = _float(0)
        for index in range(len(vector)):
            highest = max(highest, abs(vector[index]))
        scale = max(highest / _float(_MOST), _float(1e-30))
        scales[position] = scale
        inverse = _float(1) / scale
        for index in range(len(vector)):
            stored[position, index] = np.int8(np.int32(np.rint(vector[index] * inverse)))

    def as_floats(vector, position, stored, scales):
        for index in range(len(vector)):
            stored[position, index] = vector[index]

    return as_integers if stored.dtype is types.int8 else as_floats
