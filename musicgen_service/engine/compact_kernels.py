"""The kernel of a step's attention on a CPU over keys and values in 8 bits, compiled by numba when first called.

torch's attention takes no integers.
"""

from functools import cache

from numba import njit, types

from musicgen_service.engine.step_kernel.attention import attend_row

_ROWS = types.float32[:, :, ::1]


@cache
def attend():
    """Return the kernel for keys and values in 8 bits.

    It computes the attention of pairs of a row and a head, ``row * heads + head``, from `begin` to `end`:

    queries, out : float32 ``[rows, heads, width]``
    keys_values : ``[slots, rows of a slot, 2, heads, capacity, width]``
    scales : of integers, float32 ``[slots, rows of a slot, 2, heads, capacity]``
    places : of each row, int64 ``[rows, 3]``: its slot, its row there, and its number of positions
    scale : of the products of queries and keys
    scores : float32, room for one pair's
    """

    signature = types.void(
        _ROWS,
        types.int8[:, :, :, :, :, ::1],
        types.float32[:, :, :, :, ::1],
        types.int64[:, ::1],
        types.float32,
        _ROWS,
        types.int64,
        types.int64,
        types.float32[::1],
    )

    # Compiled now, as several threads may call it at the same time.
    @njit(signature, nogil=True)
    def kernel(queries, keys_values, scales, places, scale, out, begin, end, scores):
        heads = queries.shape[1]
        for pair in range(begin, end):
            row, head = pair // heads, pair % heads
            own, steps = keys_values[places[row, 0], places[row, 1]], scales[places[row, 0], places[row, 1]]
            keys, values = (own[0, head], steps[0, head]), (own[1, head], steps[1, head])
            attend_row(queries[row, head], keys, values, places[row, 2], scale, out[row, head], scores)

    return kernel
