"""The step through all layers. Several threads call it at the same time, with the same arrays and scratch of their own.

A step is a chain of phases: products of rows with a matrix, and attentions. A phase is divided into chunks; a thread
takes the next one that nobody has taken, until none is left, and goes on to the next phase when all are done. So no
thread waits for one that has not even begun, and one that loses its core to another process holds up one chunk.

What a phase needs before its products, normalised rows in the form in which they are multiplied, every thread computes
for itself: that takes less time than to wait for it.
"""

from musicgen_service.engine.step_kernel import attention, products, rows
from musicgen_service.engine.step_kernel.arithmetic import compiled, gelu
from musicgen_service.engine.step_kernel.arrays import (
    BLOCK,
    CROSS_OUT,
    CROSS_QUERY,
    DOWN,
    INT8,
    MAX_CHUNK,
    OUT,
    QUERY_KEYS_VALUES,
    UP,
)
from musicgen_service.engine.step_kernel.instructions import add_shared, read_shared
from musicgen_service.engine.step_kernel.phases import wait
from musicgen_service.engine.step_kernel.rows import NO_NORM

_BYTES = (1, 2, 4)
"""Of a weight in each form."""
_STORE, _GELU, _ADD = range(3)
_X, _PROJECTED, _ATTENDED, _WIDENED = range(4)
_ATTENTION = -1
_PHASES = (
    (QUERY_KEYS_VALUES, 0, _X, _PROJECTED, _STORE, 0),
    (_ATTENTION, NO_NORM, _PROJECTED, _ATTENDED, _STORE, 0),
    (OUT, NO_NORM, _ATTENDED, _X, _ADD, 0),
    (CROSS_QUERY, 1, _X, _PROJECTED, _STORE, 1),
    (_ATTENTION, NO_NORM, _PROJECTED, _ATTENDED, _STORE, 1),
    (CROSS_OUT, NO_NORM, _ATTENDED, _X, _ADD, 1),
    (UP, 2, _X, _WIDENED, _GELU, 0),
    (DOWN, NO_NORM, _WIDENED, _X, _ADD, 0),
)
"""Of a layer: the matrix, the norm, what is multiplied, where the result goes and how, and whether it is for texts."""
PHASES = len(_PHASES)


@compiled
def step(weights, own, text, x, projected, attended, widened, phases, scratch):
    """Apply all layers to rows.

    Parameters
    ----------
    weights : `StoredLayers`
    own, text : `Attended`; the keys and values of this step are written to those of `own`, at each row's last position.
        The first rows attend to `text`, as many as it has places
    x : float32 [rows, dim], in place
    projected, attended, widened : float32 [rows, ...], room for queries, keys and values, for what an attention gives,
        and for what is between the two products of a feed-forward block
    phases : int64 [layers * PHASES, 2], zeros: how many chunks of a phase were taken, and how many are done
    scratch : `Scratch`
    """
    row_count, text_count = x.shape[0], text.places.shape[0]
    arrays, both = (x, projected, attended, widened), (own, text)
    # One place where each function is called, as the compiler repeats them wherever they are.
    for phase in range(weights.addresses.shape[0] * len(_PHASES)):
        layer, number = divmod(phase, len(_PHASES))
        matrix, norm, source, target, use, is_text = _PHASES[number]
        count = text_count if is_text else row_count
        if count and matrix == _ATTENTION:
            attention.attend(both[is_text], layer, projected, not is_text, attended, phases[phase], scratch)
        elif count:
            _multiply(weights, layer, matrix, norm, arrays[source], count, arrays[target], use, phases[phase], scratch)


@compiled
def _multiply(weights, layer, matrix, norm, source, count, target, use, phase, scratch):
    """Take part in a product of the first `count` rows of `source`, normalised where there is a norm."""
    inputs, outputs = weights.inputs[matrix], weights.outputs[matrix]
    form = weights.forms[layer, matrix]
    size = min(MAX_CHUNK, weights.chunk_bytes // (inputs * _BYTES[form]) // BLOCK * BLOCK)
    chunks = (outputs + size - 1) // size
    counters = phase.ctypes.data
    if read_shared(counters) < chunks:
        for row in range(count):
            rows.prepare(source[row, :inputs], weights, layer, norm, row, scratch)
            if weights.ranks[layer, matrix]:
                rows.lower(weights, layer, matrix, row, scratch)
            if form == INT8:
                rows.to_levels(inputs, row, scratch)
        while True:
            chunk = add_shared(counters)
            if chunk >= chunks:
                break
            begin, end = chunk * size, min(outputs, (chunk + 1) * size)
            if form == INT8:
                products.multiply_int8(weights, layer, matrix, count, begin, end, scratch)
            else:
                products.multiply_floats(weights, layer, matrix, count, begin, end, scratch)
            if weights.ranks[layer, matrix]:
                rows.add_low_rank(weights, layer, matrix, count, begin, end, scratch)
            for row in range(count):
                _put(scratch.products[row], use, target[row, begin:end])
            add_shared(counters + 8)
    wait(counters, chunks)


@compiled
def _put(products, use, target):
    """Write the products of a chunk where they are used."""
    # Of vectors and not of places in matrices, so that it is done in vectors.
    if use == _GELU:
        for index in range(len(target)):
            target[index] = gelu(products[index])
    elif use == _ADD:
        for index in range(len(target)):
            target[index] += products[index]
    else:
        for index in range(len(target)):
            target[index] = products[index]


def entry_of(version):
    """Return `step` as it is compiled by itself; see `compiling.prepared`."""

    def entry(weights, own, text, x, projected, attended, widened, phases, scratch):
        if version:
            step(weights, own, text, x, projected, attended, widened, phases, scratch)

    return entry
