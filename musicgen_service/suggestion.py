"""What a mistyped name may have meant."""

import difflib
from collections.abc import Iterable

_LONGEST = 100
"""Characters of a word that is looked at: comparing takes time by the square of its length."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A part of a sentence that names the nearest of the known names; empty when none is near."""
    names = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word), names, n=1) if len(word) <= _LONGEST else []
    return f" (did you mean '{names[near[0]]}'?)" if near else ""


def _plain(name: str) -> str:
    return name.strip("-").lower().replace("-", "_")
