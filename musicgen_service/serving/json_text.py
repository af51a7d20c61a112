"""JSON as it is read from clients and from Cog's server, and as it is written."""

from typing import Any

import jiter
import pydantic_core


def decode(text: bytes) -> Any:
    """Parse UTF-8 JSON text strictly: no duplicate keys, no NaN, no lone surrogates, at most 200 levels.

    Raises
    ------
    ValueError
        When it is not valid.
    """
    return jiter.from_json(text, allow_inf_nan=False, cache_mode="none", catch_duplicate_keys=True)


def encode(value: Any) -> bytes:
    """Write JSON text, in one copy."""
    return pydantic_core.to_json(value)
