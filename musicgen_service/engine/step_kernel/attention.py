"""Attention of each head of a row to exactly the positions that the row has."""

import numpy as np

from musicgen_service.engine.step_kernel.arithmetic import compiled, exp, narrow, widen
from musicgen_service.engine.step_kernel.instructions import add_shared, read_shared
from musicgen_service.engine.step_kernel.phases import wait

_float = np.float32


@compiled
def attend(to, layer, projected, is_own, attended, phase, scratch):
    """Take part in an attention, of which a chunk is a head of a row.

    Where `is_own`, the row's own key and value, which follow its queries in `projected`, are stored before.
    """
    heads, width = to.keys_values.shape[4], to.keys_values.shape[6]
    chunks = to.places.shape[0] * heads
    counters = phase.ctypes.data
    if read_shared(counters) < chunks:
        scale = _float(1) / np.sqrt(_float(width))
        while True:
            chunk = add_shared(counters)
            if chunk >= chunks:
                break
            row, head = chunk // heads, chunk % heads
            slot, slot_row, length = to.places[row, 0], to.places[row, 1], to.places[row, 2]
            both = to.keys_values[layer, slot, slot_row]
            keys, values = both[0, head], both[1, head]
            here, dim = head * width, heads * width
            if is_own:
                for index in range(width):
                    keys[length - 1, index] = narrow(projected[row, dim + here + index], keys)
                    values[length - 1, index] = narrow(projected[row, 2 * dim + here + index], values)
            attend_row(
                projected[row, here : here + width],
                keys,
                values,
                length,
                scale,
                attended[row, here : here + width],
                scratch.scores,
            )
            add_shared(counters + 8)
    wait(counters, chunks)


@compiled
def attend_row(query, keys, values, length, scale, out, scores):
    """Attention of one query to the first `length` of some keys and values."""
    width = query.shape[0]
    for position in range(length):
        product = _float(0)
        for index in range(width):
            product += query[index] * widen(keys[position, index])
        scores[position] = product * scale
    highest = scores[0]
    for position in range(length):
        highest = max(highest, scores[position])
    total = _float(0)
    for position in range(length):
        scores[position] = exp(scores[position] - highest)
        total += scores[position]
    for index in range(width):
        out[index] = _float(0)
    for position in range(length):
        for index in range(width):
            out[index] += scores[position] * widen(values[position, index])
    for index in range(width):
        out[index] /= total
