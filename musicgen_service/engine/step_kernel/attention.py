"""Attention of each head of a row to exactly the positions that the row has."""

import numpy as np

from musicgen_service.engine.step_kernel.arithmetic import compiled, exp, from_order, order
from musicgen_service.engine.step_kernel.instructions import add_shared, read_shared
from musicgen_service.engine.step_kernel.phases import wait
from musicgen_service.engine.step_kernel.stored import scale_at, store
from musicgen_service.engine.step_kernel.stored_vectors import ask_for, dots, weighted_sum

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
            both, scales = to.keys_values[layer, slot, slot_row], to.scales[layer, slot, slot_row]
            keys, values = (both[0, head], scales[0, head]), (both[1, head], scales[1, head])
            here, dim = head * width, heads * width
            if is_own:
                key, value = dim + here, 2 * dim + here
                store(projected[row, key : key + width], length - 1, keys[0], keys[1])
                store(projected[row, value : value + width], length - 1, values[0], values[1])
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
    """Attention of one query to the first `length` of some keys and values, each stored numbers and their scales."""
    keys, key_scales = keys
    values, value_scales = values
    dots(query, keys, length, scores)
    ask_for(values.ctypes.data)
    top = order(_float(-np.inf))
    for position in range(length):
        scores[position] *= scale_at(position, keys, key_scales) * scale
        top = max(top, order(scores[position]))
    highest = from_order(top)
    total = _float(0)
    for position in range(length):
        score = exp(scores[position] - highest)
        total += score
        scores[position] = score * scale_at(position, values, value_scales)
    weighted_sum(scores, values, length, out)
    for index in range(out.shape[0]):
        out[index] /= total
