"""Time signatures: how many beats a bar has, and how long it lasts."""

import re
from dataclasses import dataclass

_MAX_NUMERATOR = 16
_DENOMINATORS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class TimeSignature:
    """Notes in a bar, such as 3 and 4 for 3/4."""

    numerator: int
    denominator: int

    @property
    def is_compound(self) -> bool:
        """Whether a beat is three notes long, as in 6/8, 9/8 and 12/8."""
        return self.denominator >= 8 and self.numerator > 3 and self.numerator % 3 == 0

    @property
    def beats(self) -> int:
        """Beats in a bar, which a tempo counts: 2 in 6/8, 4 in 4/4, 7 in 7/8."""
        return self.numerator // 3 if self.is_compound else self.numerator

    def bar_seconds(self, bpm: float) -> float:
        """Length of a bar, in seconds, at so many beats per minute."""
        return self.beats * 60 / bpm

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


COMMON = TimeSignature(4, 4)


def read(text: str | None) -> TimeSignature:
    """Read a time signature such as "6/8"; None is `COMMON`.

    Raises
    ------
    ValueError
        With one sentence, when it is none.
    """
    if text is None:
        return COMMON
    found = re.fullmatch(r"\s*(\d{1,2})\s*/\s*(\d{1,2})\s*", text, re.ASCII)
    if found and 1 <= int(found[1]) <= _MAX_NUMERATOR and int(found[2]) in _DENOMINATORS:
        return TimeSignature(int(found[1]), int(found[2]))
    allowed = ", ".join(map(str, _DENOMINATORS[:-1]))
    raise ValueError(
        f"time_signature must be 1 to {_MAX_NUMERATOR} over {allowed} or {_DENOMINATORS[-1]}, such as 3/4, "
        f"not '{text[:20]}'."
    )
