"""Numbers that threads share, and how a thread waits for others."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from musicgen_service.engine.step_kernel.llvm import INT64, function, pointer


@intrinsic
def add_shared(_, address):
    """Add 1 to an int64 that threads share, and return what it was before; what was written before is seen after."""

    def generate(_, builder, __, arguments):
        one = ir.Constant(INT64, 1)
        return builder.atomic_rmw("add", pointer(builder, arguments[0], INT64), one, "acq_rel")

    return types.int64(types.int64), generate


@intrinsic
def read_shared(_, address):
    """Read an int64 that threads share; what they wrote before it is seen after."""

    def generate(_, builder, __, arguments):
        return builder.load_atomic(pointer(builder, arguments[0], INT64), "acquire", 8)

    return types.int64(types.int64), generate


@intrinsic
def pause(_):
    """Wait a moment, and leave the core to its other thread."""

    def generate(context, builder, __, ___):
        builder.call(function(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), generate


give_way = types.ExternalFunction("sched_yield", types.int32())
"""Let another thread have the core, if one waits for it."""
