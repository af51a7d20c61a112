"""Derivation of seeds from other seeds."""

import hashlib

MAX_SEED = 2**32 - 1


def derive(seed: int, *steps: object) -> int:
    """Derive a seed from 1 to `MAX_SEED` from another one and one or more names or numbers."""
    digest = hashlib.sha256("/".join(map(str, (seed, *steps))).encode()).digest()
    return int.from_bytes(digest[:8], "big") % MAX_SEED + 1


def variation_seed(seed: int, index: int) -> int:
    """Seed of a request's variation `index`, counted from 0; the first has the request's own seed."""
    return seed if index == 0 else derive(seed, index)
