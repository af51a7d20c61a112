"""What numba has no words for: products of packed weights in vectors, and numbers that threads share.

Each is a few instructions of LLVM's. Addresses are those of memory that the caller holds; nothing checks bounds.
"""

from functools import cache

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 64
"""Inputs of a product that are multiplied at a time: 64 integers, or four times 16 floats."""
_INT8, _INT32, _INT64, _FLOAT, _HALF = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.HalfType()
_INTEGERS, _SUMS = ir.VectorType(_INT8, LANES), ir.VectorType(_INT32, LANES // 4)
_FLOATS, _HALVES = ir.VectorType(_FLOAT, LANES // 4), ir.VectorType(_HALF, LANES // 4)
_AHEAD = 2048
"""Bytes by which weights are asked for before they are needed, a line of the cache at a time."""
_LINE = 64
DIGIT = 128
"""An activation in two digits is ``DIGIT * first + second``."""


@cache
def dot_int8(rows, outputs):
    """Return the function that multiplies some rows in two digits with some rows of int8 weights.

    Its arguments are addresses: of the weights int8 ``[outputs, inputs]``, of the digits uint8 ``[rows, 2, stride]``,
    and of the result float32 ``[outputs, rows]``; then `inputs`, and `stride`, the distance of digits in bytes.
    """

    @intrinsic
    def multiply(_, weights, digits, result, inputs, stride):
        def generate(_, builder, __, arguments):
            weights, digits, result, inputs, stride = arguments
            dot = _function(builder, "llvm.x86.avx512.vpdpbusd.512", _SUMS, [_SUMS, _INTEGERS, _INTEGERS])

            def body(at, totals):
                values = [_load(builder, _add(builder, digits, at, stride, n), _INTEGERS) for n in range(2 * rows)]
                for output in range(outputs):
                    address = _add(builder, weights, at, inputs, output)
                    _prefetch(builder, address)
                    weight = _load(builder, address, _INTEGERS)
                    for n, value in enumerate(values):
                        index = 2 * rows * output + n
                        totals[index] = builder.call(dot, [totals[index], value, weight])

            totals = _loop(builder, inputs, [_SUMS] * (2 * rows * outputs), body)
            digit = ir.Constant(_FLOATS, [float(DIGIT)] * (LANES // 4))
            for index, (first, second) in enumerate(zip(totals[::2], totals[1::2], strict=True)):
                both = builder.fadd(
                    builder.fmul(builder.sitofp(first, _FLOATS), digit), builder.sitofp(second, _FLOATS)
                )
                _store_sum(builder, both, result, index)

        return types.void(*[types.int64] * 5), generate

    return multiply


@cache
def dot_floats(rows, outputs, bits):
    """Return the function that multiplies some rows in float32 with some rows of weights of 16 or 32 bits.

    Its arguments are addresses: of the weights float16 or float32 ``[outputs, inputs]``, of the rows float32
    ``[rows, stride]``, and of the result float32 ``[outputs, rows]``; then `inputs`, and `stride`, the distance of rows
    in floats.
    """
    kind = _HALVES if bits == 16 else _FLOATS

    @intrinsic
    def multiply(_, weights, values, result, inputs, stride):
        def generate(_, builder, __, arguments):
            weights, values, result, inputs, stride = arguments
            fuse = _function(builder, "llvm.fma.v16f32", _FLOATS, [_FLOATS] * 3)
            size, four = ir.Constant(_INT64, bits // 8), ir.Constant(_INT64, 4)
            row_bytes, weight_bytes = builder.mul(stride, four), builder.mul(inputs, size)

            def body(at, totals):
                for part in range(0, LANES, LANES // 4):
                    here = builder.add(at, ir.Constant(_INT64, part))
                    place = builder.mul(here, four)
                    row = [_load(builder, _add(builder, values, place, row_bytes, n), _FLOATS) for n in range(rows)]
                    for output in range(outputs):
                        address = _add(builder, weights, builder.mul(here, size), weight_bytes, output)
                        if part * bits % (8 * _LINE) == 0:
                            _prefetch(builder, address)
                        weight = _load(builder, address, kind)
                        weight = builder.fpext(weight, _FLOATS) if bits == 16 else weight
                        for n, value in enumerate(row):
                            index = rows * output + n
                            totals[index] = builder.call(fuse, [value, weight, totals[index]])

            totals = _loop(builder, inputs, [_FLOATS] * (rows * outputs), body)
            for index, total in enumerate(totals):
                _store_sum(builder, total, result, index)

        return types.void(*[types.int64] * 5), generate

    return multiply


@intrinsic
def add_shared(_, address):
    """Add 1 to an int64 that threads share, and return what it was before; what was written before is seen after."""

    def generate(_, builder, __, arguments):
        one = ir.Constant(_INT64, 1)
        return builder.atomic_rmw("add", _pointer(builder, arguments[0], _INT64), one, "acq_rel")

    return types.int64(types.int64), generate


@intrinsic
def read_shared(_, address):
    """Read an int64 that threads share; what they wrote before it is seen after."""

    def generate(_, builder, __, arguments):
        return builder.load_atomic(_pointer(builder, arguments[0], _INT64), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def pause(_):
    """Wait a moment, and leave the core to its other thread."""

    def generate(context, builder, __, ___):
        builder.call(_function(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), generate


give_way = types.ExternalFunction("sched_yield", types.int32())
"""Let another thread have the core, if one waits for it."""


def _loop(builder, count, kinds, body):
    """Go through inputs `LANES` at a time with running totals; returns the last of them."""
    before = builder.block
    inside, after = builder.append_basic_block("products"), builder.append_basic_block("sums")
    builder.branch(inside)
    builder.position_at_end(inside)
    at = builder.phi(_INT64)
    at.add_incoming(ir.Constant(_INT64, 0), before)
    running = [builder.phi(kind) for kind in kinds]
    for total, kind in zip(running, kinds, strict=True):
        total.add_incoming(ir.Constant(kind, [0] * kind.count), before)
    totals = list(running)
    body(at, totals)
    following = builder.add(at, ir.Constant(_INT64, LANES))
    at.add_incoming(following, inside)
    for total, new in zip(running, totals, strict=True):
        total.add_incoming(new, inside)
    builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
    builder.position_at_end(after)
    return totals


def _store_sum(builder, vector, result, index):
    total = _function(builder, "llvm.vector.reduce.fadd.v16f32", _FLOAT, [_FLOAT, _FLOATS])
    found = builder.call(total, [ir.Constant(_FLOAT, 0.0), vector], fastmath=("reassoc",))
    builder.store(found, _pointer(builder, builder.add(result, ir.Constant(_INT64, 4 * index)), _FLOAT))


def _function(builder, name, result, arguments):
    """Declare a function of LLVM's in the module that is being built."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def _pointer(builder, address, kind):
    return builder.inttoptr(address, kind.as_pointer())


def _load(builder, address, kind):
    return builder.load(_pointer(builder, address, kind), align=1)


def _add(builder, address, offset, stride, count):
    """Compute ``address + offset + count * stride``."""
    return builder.add(address, builder.add(offset, builder.mul(stride, ir.Constant(_INT64, count))))


def _prefetch(builder, address):
    ahead = _pointer(builder, builder.add(address, ir.Constant(_INT64, _AHEAD)), _INT8)
    fetch = _function(builder, "llvm.prefetch.p0", ir.VoidType(), [_INT8.as_pointer(), _INT32, _INT32, _INT32])
    builder.call(fetch, [ahead, *(ir.Constant(_INT32, number) for number in (0, 3, 1))])
