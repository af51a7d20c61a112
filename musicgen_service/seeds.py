"""Seeds that follow from other seeds."""

import hashlib

MAX_SEED = 2**32 - 1


def derived(seed: int, *steps: object) -> int:
    """A seed from 1 to `MAX_SEED` that follows from another one and a name or number, or several."""
    digest = hashlib.sha256("/".join(map(str, (seed, *steps))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % MAX_SEED + 1


def variation_seed(seed: int, index: int) -> int:
    """Seed of a request's clip number `index`, counted from 0; the first has the request's own."""
    return seed if index == 0 else derived(seed, index)
