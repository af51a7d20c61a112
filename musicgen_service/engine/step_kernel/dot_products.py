"""Products of a few rows with a few rows of packed weights, in vectors.

Weights are asked for before they are needed.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicgen_service.engine.step_kernel.arrays import LANES
from musicgen_service.engine.step_kernel.llvm import (
    FLOAT,
    HALF,
    INT8,
    INT16,
    INT32,
    INT64,
    add,
    function,
    load,
    loop,
    pointer,
    prefetch,
)
from musicgen_service.engine.step_kernel.processor import has_vnni

DIGIT = 128
"""A level of an activation in two digits is ``DIGIT * first + second``."""
WIDTH = 16 if has_vnni() else 8
"""Floats or 32-bit integers of a vector."""
_FLOATS, _HALVES, _SUMS = (ir.VectorType(kind, WIDTH) for kind in (FLOAT, HALF, INT32))
_AHEAD = 8192
"""Bytes by which weights are asked for before they are needed, into the second cache: half as far and into the first,
steps took a quarter longer on a processor of AMD's."""
LINE = 64
"""Bytes of the cache that are fetched at a time."""


@cache
def dot_digits(rows, outputs):
    """Return the function that multiplies some rows in two digits with some rows of int8 weights, by VNNI.

    Its arguments are addresses: of the weights int8 ``[outputs, inputs]``, of the digits uint8 ``[rows, 2, stride]``,
    and of the result float32 ``[rows, room]``; then `inputs`, `stride` in bytes, and `room` in floats.
    """
    integers = ir.VectorType(INT8, LANES)

    @intrinsic
    def multiply(_, weights, digits, result, inputs, stride, room):
        def generate(_, builder, __, arguments):
            weights, digits, result, inputs, stride, room = arguments
            dot = function(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, [_SUMS, integers, integers])

            def body(at, totals):
                values = [load(builder, add(builder, digits, at, stride, n), integers) for n in range(2 * rows)]
                for output in range(outputs):
                    address = add(builder, weights, at, inputs, output)
                    prefetch(builder, address, _AHEAD, level=2)
                    weight = load(builder, address, integers)
                    for n, value in enumerate(values):
                        index = 2 * rows * output + n
                        totals[index] = builder.call(dot, [totals[index], value, weight])

            totals = loop(builder, inputs, LANES, [_SUMS] * (2 * rows * outputs), body)
            digit = ir.Constant(_FLOATS, [float(DIGIT)] * WIDTH)
            both = [
                builder.fadd(builder.fmul(builder.sitofp(first, _FLOATS), digit), builder.sitofp(second, _FLOATS))
                for first, second in zip(totals[::2], totals[1::2], strict=True)
            ]
            _store_sums(builder, both, result, rows, room)

        return types.void(*[types.int64] * 6), generate

    return multiply


@cache
def dot_levels(rows, outputs):
    """Return the function that multiplies some rows in 16 bits with some rows of int8 weights, by AVX2.

    Its arguments are those of `dot_digits`, with levels int16 ``[rows, stride]`` in the place of digits.
    """
    wide = 2 * WIDTH
    stored, integers = ir.VectorType(INT8, wide), ir.VectorType(INT16, wide)

    @intrinsic
    def multiply(_, weights, levels, result, inputs, stride, room):
        def generate(_, builder, __, arguments):
            weights, levels, result, inputs, stride, room = arguments
            # Adds up the products of each two neighbours.
            dot = function(builder, "llvm.x86.avx2.pmadd.wd", _SUMS, [integers, integers])
            two = ir.Constant(INT64, 2)
            row_bytes = builder.mul(stride, two)

            def body(at, totals):
                for part in range(0, LANES, wide):
                    here = builder.add(at, ir.Constant(INT64, part))
                    place = builder.mul(here, two)
                    values = [load(builder, add(builder, levels, place, row_bytes, n), integers) for n in range(rows)]
                    for output in range(outputs):
                        address = add(builder, weights, here, inputs, output)
                        if part == 0:
                            prefetch(builder, address, _AHEAD, level=2)
                        weight = builder.sext(load(builder, address, stored), integers)
                        for n, value in enumerate(values):
                            index = rows * output + n
                            totals[index] = builder.add(totals[index], builder.call(dot, [value, weight]))

            totals = loop(builder, inputs, LANES, [_SUMS] * (rows * outputs), body)
            _store_sums(builder, [builder.sitofp(total, _FLOATS) for total in totals], result, rows, room)

        return types.void(*[types.int64] * 6), generate

    return multiply


@cache
def dot_floats(rows, outputs, bits):
    """Return the function that multiplies some rows in float32 with some rows of weights of 16 or 32 bits.

    Its arguments are addresses: of the weights float16 or float32 ``[outputs, inputs]``, of the rows float32
    ``[rows, stride]``, and of the result float32 ``[rows, room]``; then `inputs`, `stride` and `room` in floats.
    """
    kind = _HALVES if bits == 16 else _FLOATS

    @intrinsic
    def multiply(_, weights, values, result, inputs, stride, room):
        def generate(_, builder, __, arguments):
            weights, values, result, inputs, stride, room = arguments
            fuse = function(builder, f"llvm.fma.v{WIDTH}f32", _FLOATS, [_FLOATS] * 3)
            size, four = ir.Constant(INT64, bits // 8), ir.Constant(INT64, 4)
            row_bytes, weight_bytes = builder.mul(stride, four), builder.mul(inputs, size)

            def body(at, totals):
                for part in range(0, LANES, WIDTH):
                    here = builder.add(at, ir.Constant(INT64, part))
                    place = builder.mul(here, four)
                    row = [load(builder, add(builder, values, place, row_bytes, n), _FLOATS) for n in range(rows)]
                    for output in range(outputs):
                        address = add(builder, weights, builder.mul(here, size), weight_bytes, output)
                        if part * bits % (8 * LINE) == 0:
                            prefetch(builder, address, _AHEAD, level=2)
                        weight = load(builder, address, kind)
                        weight = builder.fpext(weight, _FLOATS) if bits == 16 else weight
                        for n, value in enumerate(row):
                            index = rows * output + n
                            totals[index] = builder.call(fuse, [value, weight, totals[index]])

            totals = loop(builder, inputs, LANES, [_FLOATS] * (rows * outputs), body)
            _store_sums(builder, totals, result, rows, room)

        return types.void(*[types.int64] * 6), generate

    return multiply


def _store_sums(builder, vectors, result, rows, room):
    """Store what the floats of each vector add up to; they are those of all rows with one output after the other."""
    total = function(builder, f"llvm.vector.reduce.fadd.v{WIDTH}f32", FLOAT, [FLOAT, _FLOATS])
    row_bytes = builder.mul(room, ir.Constant(INT64, 4))
    for index, vector in enumerate(vectors):
        output, row = divmod(index, rows)
        address = add(builder, result, ir.Constant(INT64, 4 * output), row_bytes, row)
        found = builder.call(total, [ir.Constant(FLOAT, 0.0), vector], fastmath=("reassoc",))
        builder.store(found, pointer(builder, address, FLOAT))
