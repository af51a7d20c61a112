"""Progress reports: a bar on a terminal, percentages in a log."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta

from tqdm import tqdm

_STEP = 10
"""Percent between two lines in a log."""
_COLUMNS = 80
"""Width for a terminal that reports no size, as in many containers: tqdm would draw nothing there."""


_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Log and report nothing in the block, in this context: for one of many requests, which are reported together."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def log(message: str) -> None:
    """Log one line for the operator, to standard error so that output stays clean."""
    if _is_quiet.get():
        return
    # A closed terminal or a full disk must not fail the request.
    with suppress(OSError):
        if sys.stderr.isatty():
            tqdm.write(message, file=sys.stderr)  # above the bar instead of inside it
        else:
            # One write for a line: those of requests that are carried out at the same time do not mix.
            sys.stderr.write(message + "\n")
            sys.stderr.flush()


class Progress:
    """Reports how much of a request is done."""

    def __init__(self) -> None:
        has_bar = sys.stderr.isatty() and not _is_quiet.get()
        self._bar = tqdm(total=100, unit="%", ncols=columns()) if has_bar else None
        self._logged = 0

    def report(self, share: float) -> None:
        """Report the share of the work that is done, 0 to 1."""
        percent = int(100 * share + 1e-9)
        if self._bar is not None:
            self._bar.update(percent - self._bar.n)
        elif percent - self._logged >= _STEP:
            self._logged = percent - percent % _STEP
            log(f"{self._logged} %")

    def close(self) -> None:
        """End the report; safe to call after a failure."""
        if self._bar is not None:
            self._bar.close()


def in_words(seconds: float) -> str:
    """A length of time, such as `0:01:40`."""
    return str(timedelta(seconds=round(seconds)))


def columns() -> int:
    """Width of the terminal that is standard error."""
    return os.get_terminal_size(sys.stderr.fileno()).columns or _COLUMNS
