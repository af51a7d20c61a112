"""What a request tells while it runs: a bar on a terminal, percentages in a log."""

import os
import sys
from contextlib import suppress

from tqdm import tqdm

_STEP = 10
"""Percent between two lines in a log."""
_COLUMNS = 80
"""Of a terminal that does not know its size, as many a container's: tqdm would draw nothing there."""


def log(message: str) -> None:
    """One line for the operator, on standard error so that output stays clean."""
    # A terminal that has gone, or a full disk under the log, is no reason to fail.
    with suppress(OSError):
        if sys.stderr.isatty():
            tqdm.write(message, file=sys.stderr)  # above a bar, not in the midst of it
        else:
            print(message, file=sys.stderr, flush=True)


class Progress:
    """Reports how much of a request is done."""

    def __init__(self) -> None:
        self._bar = tqdm(total=100, unit="%", ncols=_columns()) if sys.stderr.isatty() else None
        self._told = 0

    def report(self, share: float) -> None:
        """Report that this share (0 to 1) of the work is done."""
        percent = int(100 * share + 1e-9)
        if self._bar is not None:
            self._bar.update(percent - self._bar.n)
        elif percent - self._told >= _STEP:
            self._told = percent - percent % _STEP
            log(f"{self._told} %")

    def close(self) -> None:
        """End the report; safe to call after a failure."""
        if self._bar is not None:
            self._bar.close()


def _columns() -> int:
    return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
