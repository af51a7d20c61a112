"""Triton kernels of a step on a GPU; `fused` launches them. Importing this module needs Triton.

A step is a chain of short kernels, each of which needs what the one before it wrote. With `EARLY` a kernel starts
before its predecessor has ended (programmatic dependent launch, compute capability 9), reads the weights it needs, and
only then waits for its input. Every kernel waits, so that each of them sees everything written before its predecessor.

All sums are in float32. Arrays of Triton have sizes that are powers of two: a `WIDTH` is the next one of the size it is
named after, and what lies beyond that size is masked.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

_SQRT_HALF = tl.constexpr(0.7071067811865476)
_LOWEST = tl.constexpr(-1.0e30)
"""Stands in for minus infinity, whose difference with itself is NaN."""
_ABOVE_ONE = tl.constexpr(0x3F800001)
"""The bits of the smallest float32 above 1. The bits of floats that are not negative are in the floats' own order."""
_HALVINGS = tl.constexpr(30)
"""Halvings that narrow the bits between 0 and `_ABOVE_ONE` down to one value."""


@triton.jit
def _await(EARLY: tl.constexpr):
    """Let the next kernel start, and wait for the previous one to end.

    What a kernel reads before that must have been written before the step: weights, lengths, and keys and values of
    earlier positions.
    """
    if EARLY:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def _centre(row, inside, epsilon, SIZE: tl.constexpr):
    """Subtract the mean of a row and divide by its standard deviation."""
    centred = tl.where(inside, row - tl.sum(row, 0) / SIZE, 0.0)
    return centred * (1.0 / tl.sqrt(tl.sum(centred * centred, 0) / SIZE + epsilon))


@triton.jit
def embed(
    tokens, slot_stride, codebook_stride, column, position, tables, positions, out,
    DIM: tl.constexpr, ENTRIES: tl.constexpr, CODEBOOKS: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Add the embeddings of a slot's tokens and position, for all rows of the slot; grid (slots, dim / BLOCK)."""
    if EARLY:
        # In this order in a step's first kernel: no other starts before everything that precedes the step is written.
        gdc_wait()
        gdc_launch_dependents()
    slot = tl.program_id(0)
    d = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = d < DIM
    here = tokens + slot * slot_stride + tl.load(column + slot)
    # Added one after the other and rounded each time, as torch and audiocraft do.
    x = tl.load(tables + tl.load(here) * DIM + d, mask=inside)
    for codebook in tl.static_range(1, CODEBOOKS):
        entry = codebook * ENTRIES + tl.load(here + codebook * codebook_stride)
        x += tl.load(tables + entry * DIM + d, mask=inside)
    x += tl.load(positions + tl.load(position + slot) * DIM + d, mask=inside)
    for row in tl.static_range(ROWS):
        tl.store(out + (slot * ROWS + row) * DIM + d, x, mask=inside)


@triton.jit
def normalise(
    x, x_stride, weight, bias, epsilon, out, DIM: tl.constexpr, WIDTH: tl.constexpr, EARLY: tl.constexpr
):  # fmt: skip
    """Layer normalisation; grid (rows)."""
    row = tl.program_id(0)
    d = tl.arange(0, WIDTH)
    inside = d < DIM
    scale = tl.load(weight + d, mask=inside).to(tl.float32)
    shift = tl.load(bias + d, mask=inside).to(tl.float32)
    _await(EARLY)
    values = tl.load(x + row * x_stride + d, mask=inside, other=0.0).to(tl.float32)
    normalised = _centre(values, inside, epsilon, DIM) * scale + shift
    tl.store(out + row * DIM + d, normalised.to(out.dtype.element_ty), mask=inside)


@triton.jit
def product(
    x, x_stride, norm_weight, norm_bias, epsilon, weight, out, out_stride,
    INPUTS: tl.constexpr, WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
    NORM: tl.constexpr, GELU: tl.constexpr, ADD: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Multiply a few rows with a weight [outputs, inputs]; grid (outputs / BLOCK).

    Weights are read once, and before the rows are there. `NORM` normalises the rows first, `GELU` activates the
    result, `ADD` adds it to what `out` holds.
    """
    row = tl.arange(0, ROWS)[:, None, None]
    n = (tl.program_id(0) * BLOCK + tl.arange(0, BLOCK))[None, :, None]
    k = tl.arange(0, WIDTH)[None, None, :]
    inside = k < INPUTS
    weights = tl.load(weight + n * INPUTS + k, mask=inside, other=0.0)
    if NORM:
        scale = tl.load(norm_weight + k, mask=inside, other=0.0).to(tl.float32)
        shift = tl.load(norm_bias + k, mask=inside, other=0.0).to(tl.float32)
    _await(EARLY)
    values = tl.load(x + row * x_stride + k, mask=inside, other=0.0).to(tl.float32)
    if NORM:
        values = tl.where(inside, values - tl.sum(values, 2, keep_dims=True) / INPUTS, 0.0)
        variance = tl.sum(values * values, 2, keep_dims=True) / INPUTS
        values = values * (1.0 / tl.sqrt(variance + epsilon)) * scale + shift
    result = tl.sum(weights.to(tl.float32) * values, 2, keep_dims=True)
    if GELU:
        result = 0.5 * result * (1.0 + tl.erf(result * _SQRT_HALF))
    target = out + row * out_stride + n
    if ADD:
        result += tl.load(target).to(tl.float32)
    tl.store(target, result.to(out.dtype.element_ty))


@triton.jit
def attend(
    queries, query_stride, cache, slot_stride, row_stride, value_stride, head_stride, lengths, out, partial, arrived,
    scale,
    ROWS: tl.constexpr, ROWS_PER_LENGTH: tl.constexpr, HEADS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    SPLITS: tl.constexpr, APPEND: tl.constexpr, EARLY: tl.constexpr,
):  # fmt: skip
    """Attention of one query per row and head to the positions that its row has; grid (rows * heads, SPLITS).

    The positions are divided among at most `SPLITS` programs, `BLOCK` or more to each. The last of them to arrive
    combines their results, and leaves `arrived` [rows * heads] zero for the next launch. `APPEND` takes the row's own
    key and value from behind its queries, writes them to the cache after the positions that it has, and attends to them
    too.
    """
    pair, split = tl.program_id(0), tl.program_id(1)
    row, head = pair // HEADS, pair % HEADS
    d = tl.arange(0, WIDTH)
    keys = cache + (row // ROWS).to(tl.int64) * slot_stride + (row % ROWS) * row_stride + head * head_stride
    values = keys + value_stride
    length = tl.load(lengths + row // ROWS_PER_LENGTH, cache_modifier=".cg").to(tl.int32)
    parts = tl.maximum(tl.minimum(tl.cdiv(length, BLOCK), SPLITS), 1)
    if split >= parts:
        return
    share = tl.cdiv(tl.cdiv(length, parts), BLOCK) * BLOCK
    start, stop = split * share, tl.minimum((split + 1) * share, length)
    n = start + tl.arange(0, BLOCK)
    key = tl.load(keys + n[:, None] * WIDTH + d[None, :], mask=(n < stop)[:, None], other=0.0)
    value = tl.load(values + n[:, None] * WIDTH + d[None, :], mask=(n < stop)[:, None], other=0.0)
    _await(EARLY)
    source = queries + row * query_stride + head * WIDTH
    query = tl.load(source + d).to(tl.float32) * scale
    # A running softmax: the highest score so far, and sums relative to it.
    highest, total, attended = tl.full([], _LOWEST, tl.float32), 0.0, tl.zeros([WIDTH], tl.float32)
    for _ in range(start, stop, BLOCK):
        scores = tl.where(n < stop, tl.sum(key.to(tl.float32) * query[None, :], 1), _LOWEST)
        new = tl.maximum(highest, tl.max(scores, 0))
        weights = tl.where(n < stop, tl.exp(scores - new), 0.0)
        rescale = tl.exp(highest - new)
        attended = attended * rescale + tl.sum(weights[:, None] * value.to(tl.float32), 0)
        total = total * rescale + tl.sum(weights, 0)
        highest = new
        n += BLOCK
        key = tl.load(keys + n[:, None] * WIDTH + d[None, :], mask=(n < stop)[:, None], other=0.0)
        value = tl.load(values + n[:, None] * WIDTH + d[None, :], mask=(n < stop)[:, None], other=0.0)
    if APPEND and split == parts - 1:
        own_key = tl.load(source + HEADS * WIDTH + d)
        own_value = tl.load(source + 2 * HEADS * WIDTH + d)
        tl.store(keys + length * WIDTH + d, own_key)
        tl.store(values + length * WIDTH + d, own_value)
        score = tl.sum(own_key.to(tl.float32) * query, 0)
        new = tl.maximum(highest, score)
        rescale, weight = tl.exp(highest - new), tl.exp(score - new)
        attended = attended * rescale + weight * own_value.to(tl.float32)
        total = total * rescale + weight
        highest = new
    target = out + pair * WIDTH + d
    if SPLITS == 1:
        # A row without positions attends to nothing.
        tl.store(target, (attended / tl.where(total > 0, total, 1.0)).to(out.dtype.element_ty))
    else:
        own = partial + (pair * SPLITS + split) * (WIDTH + 2)
        tl.store(own + d, attended)
        tl.store(own + WIDTH, highest)
        tl.store(own + WIDTH + 1, total)
        # All threads' stores come before the count, which one thread makes.
        tl.debug_barrier()
        if tl.atomic_add(arrived + pair, 1, sem="acq_rel") == parts - 1:
            s = tl.arange(0, SPLITS)
            is_part = s < parts
            every = partial + (pair * SPLITS + s) * (WIDTH + 2)
            # Past the first-level cache, which may hold what other programs have overwritten since.
            maxima = tl.load(every + WIDTH, mask=is_part, other=_LOWEST, cache_modifier=".cg")
            totals = tl.load(every + WIDTH + 1, mask=is_part, other=0.0, cache_modifier=".cg")
            sums = tl.load(every[:, None] + d[None, :], mask=is_part[:, None], other=0.0, cache_modifier=".cg")
            shares = tl.exp(maxima - tl.max(maxima, 0))
            total = tl.sum(totals * shares, 0)
            combined = tl.sum(sums * shares[:, None], 0) / tl.where(total > 0, total, 1.0)
            tl.store(target, combined.to(out.dtype.element_ty))
            tl.store(arrived + pair, 0)


@triton.jit
def draw(
    logits, noise, guidance, temperature, top_k, top_p, tokens, slot_stride, codebook_stride, column, unknown,
    CARD: tl.constexpr, WIDTH: tl.constexpr, CODEBOOKS: tl.constexpr, ROWS: tl.constexpr, TOP_P: tl.constexpr,
    EARLY: tl.constexpr,
):  # fmt: skip
    """Guide logits and draw a token from them as `sampling` does; grid (slots * codebooks).

    `top_k` keeps all tokens from some probability on, which is found by halving the range of its bits. `TOP_P` draws
    from the ranked tokens, for slots with a `top_p`. The token goes to the column after the slot's, if that has none.
    """
    _await(EARLY)
    slot, codebook = tl.program_id(0) // CODEBOOKS, tl.program_id(0) % CODEBOOKS
    c = tl.arange(0, WIDTH)
    inside = c < CARD
    first = logits + (slot * ROWS * CODEBOOKS + codebook) * CARD
    conditional = tl.load(first + c, mask=inside, other=0.0).to(tl.float32)
    unconditional = tl.load(first + (ROWS - 1) * CODEBOOKS * CARD + c, mask=inside, other=0.0).to(tl.float32)
    strength = tl.load(guidance + slot)
    guided = unconditional + (conditional - unconditional) * strength
    # Without guidance the unconditional row may be anything: its keys and values were never computed.
    guided = tl.where(inside, tl.where(strength == 1.0, conditional, guided), _LOWEST)
    heat = tl.load(temperature + slot)
    scaled = guided / tl.where(heat == 0, 1.0, heat)
    powers = tl.where(inside, tl.exp(scaled - tl.max(scaled, 0)), 0.0)
    probabilities = powers / tl.sum(powers, 0)
    bits = probabilities.to(tl.int32, bitcast=True)
    # The highest threshold that at least k probabilities reach is the k-th of them.
    k = tl.load(top_k + slot).to(tl.int32)
    k = tl.where(k == 0, WIDTH, k)
    low, high = tl.full([], 0, tl.int32), tl.full([], _ABOVE_ONE, tl.int32)
    for _ in range(_HALVINGS):
        middle = (low + high) // 2
        reached = tl.sum((bits >= middle).to(tl.int32), 0) >= k
        low = tl.where(reached, middle, low)
        high = tl.where(reached, high, middle)
    exponential = tl.load(noise + (slot * CODEBOOKS + codebook) * CARD + c, mask=inside, other=1.0)
    scores = tl.where(heat == 0, guided, tl.where(bits >= low, probabilities / exponential, 0.0))
    drawn = tl.argmax(tl.where(inside, scores, _LOWEST), 0)
    if TOP_P:
        mass = tl.load(top_p + slot)
        # Probability above, token below, so that both are sorted.
        ranked = tl.sort((bits.to(tl.int64) << 32) | (WIDTH - 1 - c), descending=True)
        likeliest = (ranked >> 32).to(tl.int32).to(tl.float32, bitcast=True)
        before = tl.cumsum(likeliest, 0) - likeliest
        rank = tl.argmax(tl.where(before > mass, 0.0, likeliest / exponential), 0)
        token = tl.sum(tl.where(c == rank, WIDTH - 1 - (ranked & 0xFFFFFFFF).to(tl.int32), 0), 0)
        drawn = tl.where((mass > 0) & (heat != 0), token, drawn)
    drawn = tl.minimum(drawn, CARD - 1)
    target = tokens + slot * slot_stride + codebook * codebook_stride + tl.load(column + slot) + 1
    if tl.load(target) == unknown:
        tl.store(target, drawn.to(tl.int64))
