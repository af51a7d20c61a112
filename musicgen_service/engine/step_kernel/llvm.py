"""What is built of LLVM's instructions, for functions that numba has no words for.

Addresses are those of memory that the caller holds; nothing checks bounds.
"""

from llvmlite import ir

INT8, INT16, INT32, INT64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
HALF, FLOAT = ir.HalfType(), ir.FloatType()


def function(builder, name, result, arguments):
    """Declare a function of LLVM's in the module that is being built."""
    module = builder.module
    return module.globals.get(name) or ir.Function(module, ir.FunctionType(result, arguments), name)


def pointer(builder, address, kind):
    """Return the pointer to what is at an address."""
    return builder.inttoptr(address, kind.as_pointer())


def load(builder, address, kind):
    """Load a vector, aligned to nothing."""
    return builder.load(pointer(builder, address, kind), align=1)


def add(builder, address, offset, stride, count):
    """Compute ``address + offset + count * stride``."""
    return builder.add(address, builder.add(offset, builder.mul(stride, ir.Constant(INT64, count))))


def prefetch(builder, address, ahead, level=1):
    """Ask for the line so many bytes after an address, into the cache of that level and those behind it."""
    fetch = function(builder, "llvm.prefetch.p0", ir.VoidType(), [INT8.as_pointer(), INT32, INT32, INT32])
    numbers = (0, 4 - level, 1)  # to read; locality, 3 of which is the first level; data
    place = builder.add(address, ir.Constant(INT64, ahead))
    builder.call(fetch, [pointer(builder, place, INT8), *(ir.Constant(INT32, number) for number in numbers)])


def loop(builder, count, step, kinds, body):
    """Go through numbers below `count`, of at least 1, in steps, with running totals; returns the last of them."""
    before = builder.block
    inside, after = builder.append_basic_block("loop"), builder.append_basic_block("after")
    builder.branch(inside)
    builder.position_at_end(inside)
    at = builder.phi(INT64)
    at.add_incoming(ir.Constant(INT64, 0), before)
    running = [builder.phi(kind) for kind in kinds]
    for total, kind in zip(running, kinds, strict=True):
        total.add_incoming(ir.Constant(kind, [0] * kind.count), before)
    totals = list(running)
    body(at, totals)
    following = builder.add(at, ir.Constant(INT64, step))
    at.add_incoming(following, inside)
    for total, new in zip(running, totals, strict=True):
        total.add_incoming(new, inside)
    builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
    builder.position_at_end(after)
    return totals
