"""What a request tells while it runs: a bar on a terminal, percentages in a log."""

import sys

from tqdm import tqdm

_STEP = 10
"""Percent between two lines in a log."""


def log(message: str) -> None:
    """One line for the operator, on standard error so that output stays clean."""
    print(message, file=sys.stderr, flush=True)


class Progress:
    """Reports how much of a request is done.

    Parameters
    ----------
    parts : clips that the request makes, each an equal share of the work
    """

    def __init__(self, parts: int) -> None:
        self._parts = parts
        self._finished = 0
        self._bar = tqdm(total=100, unit="%", bar_format="{l_bar}{bar}| {elapsed}") if sys.stderr.isatty() else None
        self._told = 0

    def part_done(self, fraction: float) -> None:
        """Report that this share (0 to 1) of the current clip is done."""
        self._tell(int(100 * (self._finished + fraction) / self._parts))

    def next_part(self) -> None:
        """Report that the current clip is finished."""
        self._finished += 1
        self._tell(int(100 * self._finished / self._parts))

    def close(self) -> None:
        """End the report; safe to call after a failure."""
        if self._bar is not None:
            self._bar.close()

    def _tell(self, percent: int) -> None:
        if self._bar is not None:
            self._bar.update(percent - self._bar.n)
        elif percent - self._told >= _STEP:
            self._told = percent - percent % _STEP
            log(f"{self._told} %")
