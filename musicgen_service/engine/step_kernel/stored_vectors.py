"""Sums over stored keys and values, in vectors."""

from functools import cache, reduce

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from musicgen_service.engine.step_kernel.arithmetic import compiled, peak
from musicgen_service.engine.step_kernel.arrays import LANES, MAX_LEVEL
from musicgen_service.engine.step_kernel.dot_products import LINE, WIDTH
from musicgen_service.engine.step_kernel.llvm import (
    FLOAT,
    INT8,
    INT16,
    INT32,
    INT64,
    function,
    load,
    loop,
    pointer,
    prefetch,
)

_float = np.float32
_FLOATS, _WORDS = ir.VectorType(FLOAT, WIDTH), ir.VectorType(INT32, WIDTH)
_AHEAD = 4096
"""Bytes by which keys and values are asked for before they are needed."""
_KINDS = {types.int8: INT8, types.float32: FLOAT}


def dots(vector, stored, length, products):
    """Write the products of a float32 vector with the first `length` stored ones, without their scales."""
    raise NotImplementedError("for compiled functions")


@overload(dots)
def _dots(vector, stored, length, products):
    if stored.dtype is types.int8:
        return lambda vector, stored, length, products: _dots_of_integers(vector, stored, length, products)
    lanes, size = _dot_floats(stored.dtype), stored.dtype.bitwidth // 8

    def of_floats(vector, stored, length, products):
        width = vector.shape[0]
        whole, grouped = width - width % LANES, length - length % WIDTH
        own, rows, results = vector.ctypes.data, stored.ctypes.data, products.ctypes.data
        products[:length] = _float(0)
        for position in range(0, grouped, WIDTH):
            for index in range(0, whole, LANES):
                row = rows + size * (position * width + index)
                lanes(own + 4 * index, row, results + 4 * position, size * width)
        _add_rest(vector, stored, length, products)

    return of_floats


@compiled
def _dots_of_integers(vector, stored, length, products):
    width = vector.shape[0]
    whole, grouped = width - width % LANES, length - length % WIDTH
    step = peak(vector) / _float(MAX_LEVEL)
    inverse = _float(1) / step
    levels = np.empty(width, np.int16)
    for index in range(width):
        levels[index] = np.int16(np.int32(np.rint(vector[index] * inverse)))
    own, rows, results = levels.ctypes.data, stored.ctypes.data, products.ctypes.data
    products[:length] = _float(0)
    for position in range(0, grouped, WIDTH):
        for index in range(0, whole, LANES):
            _dot_integers(own + 2 * index, rows + position * width + index, results + 4 * position, width)
    for position in range(grouped):
        products[position] *= step
    _add_rest(vector, stored, length, products)


@compiled
def _add_rest(vector, stored, length, products):
    """Add what is left of products beside whole groups of positions and lanes."""
    width = vector.shape[0]
    whole, grouped = width - width % LANES, length - length % WIDTH
    if whole < width:
        for position in range(grouped):
            for index in range(whole, width):
                products[position] += vector[index] * _float(stored[position, index])
    for position in range(grouped, length):
        for index in range(width):
            products[position] += vector[index] * _float(stored[position, index])


@intrinsic
def ask_for(_, address):
    """Ask for the first `_AHEAD` bytes of stored vectors, which are needed soon."""

    def generate(context, builder, __, arguments):
        for offset in range(0, _AHEAD, LINE):
            prefetch(builder, arguments[0], offset)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def weighted_sum(weights, stored, length, out):
    """Write the sum of the first `length` stored vectors, each with its weight, without their scales."""
    raise NotImplementedError("for compiled functions")


@overload(weighted_sum)
def _weighted_sum(weights, stored, length, out):
    lanes, size = _sum_lanes(stored.dtype), stored.dtype.bitwidth // 8

    def implementation(weights, stored, length, out):
        width = out.shape[0]
        whole = width - width % LANES
        rows, result = stored.ctypes.data, out.ctypes.data
        for index in range(0, whole, LANES):
            lanes(weights.ctypes.data, rows + size * index, result + 4 * index, length, size * width)
        if whole < width:
            out[whole:] = _float(0)
            for position in range(length):
                for index in range(whole, width):
                    out[index] += weights[position] * _float(stored[position, index])

    return implementation


@cache
def _dot_floats(kind):
    """Return the function that multiplies `LANES` floats with as many of `WIDTH` stored vectors.

    Its arguments are addresses: of the floats, of the first vector, and of float32 ``[WIDTH]`` to which the products
    are added; then the distance of vectors in bytes.
    """

    @intrinsic
    def multiply(_, vector, stored, products, stride):
        def generate(_, builder, __, arguments):
            vector, stored, products, stride = arguments
            fuse = function(builder, f"llvm.fma.v{WIDTH}f32", _FLOATS, [_FLOATS] * 3)
            parts = range(0, LANES, WIDTH)
            own = [load(builder, builder.add(vector, ir.Constant(INT64, 4 * part)), _FLOATS) for part in parts]
            totals = []
            for position in range(WIDTH):
                row = builder.add(stored, builder.mul(stride, ir.Constant(INT64, position)))
                total = ir.Constant(_FLOATS, [0.0] * WIDTH)
                for part, values in zip(parts, own, strict=True):
                    total = builder.call(fuse, [values, _load_floats(builder, row, part, kind), total])
                totals.append(total)
            _add_to(builder, products, _sums(builder, totals, builder.fadd))

        return types.void(*[types.int64] * 4), generate

    return multiply


@intrinsic
def _dot_integers(_, levels, stored, products, stride):
    """Multiply `LANES` int16 with as many int8 of `WIDTH` stored vectors; its arguments are those of `_dot_floats`."""

    def generate(_, builder, __, arguments):
        levels, stored, products, stride = arguments
        narrow, wide = ir.VectorType(INT8, 2 * WIDTH), ir.VectorType(INT16, 2 * WIDTH)
        # Adds up the products of each two neighbours.
        name = "llvm.x86.avx512.pmaddw.d.512" if WIDTH == 16 else "llvm.x86.avx2.pmadd.wd"
        dot = function(builder, name, _WORDS, [wide, wide])
        parts = range(0, LANES, 2 * WIDTH)
        own = [load(builder, builder.add(levels, ir.Constant(INT64, 2 * part)), wide) for part in parts]
        totals = []
        for position in range(WIDTH):
            row = builder.add(stored, builder.mul(stride, ir.Constant(INT64, position)))
            prefetch(builder, row, _AHEAD)
            loaded = [load(builder, builder.add(row, ir.Constant(INT64, part)), narrow) for part in parts]
            found = [
                builder.call(dot, [values, builder.sext(numbers, wide)])
                for values, numbers in zip(own, loaded, strict=True)
            ]
            totals.append(reduce(builder.add, found))
        _add_to(builder, products, builder.sitofp(_sums(builder, totals, builder.add), _FLOATS))

    return types.void(*[types.int64] * 4), generate


def _sums(builder, vectors, plus):
    """Return the vector of the sums of as many vectors."""
    while len(vectors) > 1:
        evens, odds = (ir.Constant(_WORDS, list(range(first, 2 * WIDTH, 2))) for first in (0, 1))
        pairs = zip(vectors[::2], vectors[1::2], strict=True)
        vectors = [plus(builder.shuffle_vector(*pair, evens), builder.shuffle_vector(*pair, odds)) for pair in pairs]
    return vectors[0]


def _add_to(builder, address, vector):
    here = pointer(builder, address, _FLOATS)
    builder.store(builder.fadd(builder.load(here, align=4), vector), here, align=4)


@cache
def _sum_lanes(kind):
    """Return the function that adds up `LANES` columns of stored vectors, each with its weight.

    Its arguments are addresses: of the weights float32 ``[count]``, of the first column, and of the result float32
    ``[LANES]``; then `count`, of at least 1, and the distance of vectors in bytes.
    """

    @intrinsic
    def add_up(_, weights, stored, result, count, stride):
        def generate(_, builder, __, arguments):
            weights, stored, result, count, stride = arguments
            fuse = function(builder, f"llvm.fma.v{WIDTH}f32", _FLOATS, [_FLOATS] * 3)
            parts = range(0, LANES, WIDTH)

            def body(at, totals):
                place = pointer(builder, builder.add(weights, builder.mul(at, ir.Constant(INT64, 4))), FLOAT)
                undefined = ir.Constant(_FLOATS, ir.Undefined)
                first = builder.insert_element(undefined, builder.load(place), ir.Constant(INT32, 0))
                same = builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * WIDTH))
                row = builder.add(stored, builder.mul(at, stride))
                for index, part in enumerate(parts):
                    values = _load_floats(builder, row, part, kind)
                    totals[index] = builder.call(fuse, [same, values, totals[index]])

            totals = loop(builder, count, 1, [_FLOATS] * len(parts), body)
            for part, total in zip(parts, totals, strict=True):
                address = builder.add(result, ir.Constant(INT64, 4 * part))
                builder.store(total, pointer(builder, address, _FLOATS), align=1)

        return types.void(*[types.int64] * 5), generate

    return add_up


def _load_floats(builder, address, part, kind):
    """Load some of the stored numbers at an address as float32, and ask for those that are needed later."""
    size = kind.bitwidth // 8
    here = builder.add(address, ir.Constant(INT64, part * size))
    if part * size % LINE == 0:
        prefetch(builder, here, _AHEAD)
    numbers = load(builder, here, ir.VectorType(_KINDS[kind], WIDTH))
    if kind is types.int8:
        return builder.sitofp(numbers, _FLOATS)
    return numbers
