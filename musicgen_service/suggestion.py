"""Suggestions for mistyped names."""

import difflib
from collections.abc import Iterable

_MAX_LENGTH = 100
"""Maximum characters of a word that is compared: the time is quadratic in its length."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A clause that suggests the closest known name; empty when none is close."""
    names = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word), names, n=1) if len(word) <= _MAX_LENGTH else []
    return f" (did you mean '{names[near[0]]}'?)" if near else ""


def _plain(name: str) -> str:
    return name.strip("-").lower().replace("-", "_")
