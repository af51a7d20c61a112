"""Progress of a batch: a bar with rate and time left on a terminal, lines in a log."""

import sys
import threading
import time
from typing import Any

from tqdm import tqdm

from musicgen_service.progress import columns, in_words, log

_LOG_INTERVAL = 30.0
_FORMAT = "{percentage:3.0f}%|{bar}| {desc} [{elapsed}<{remaining}, {rate_noinv_fmt}]"


class BatchProgress:
    """Reports how much of a batch is done; any number of threads may count.

    Parameters
    ----------
    count : of the requests
    seconds : of audio that they make, at most
    """

    def __init__(self, count: int, seconds: float) -> None:
        self._count = count
        self._seconds = seconds
        self._done = self.failed = 0
        self._done_seconds = 0.0
        self._lock = threading.Lock()
        self._started = self._logged = time.monotonic()
        self._bar: tqdm[Any] | None = None
        if sys.stderr.isatty():
            # The mean rate of the whole run: requests end in groups.
            looks: dict[str, Any] = {"unit": " s of audio", "bar_format": _FORMAT, "smoothing": 0, "ncols": columns()}
            self._bar = tqdm(total=seconds, desc=self._counts, **looks)

    @property
    def made(self) -> int:
        """Number of requests that succeeded."""
        return self._done - self.failed

    def advance(self, seconds: float, *, failed: bool) -> None:
        """Count a request that has ended."""
        with self._lock:
            self._advance(seconds, failed)

    def _advance(self, seconds: float, failed: bool) -> None:
        self._done += 1
        self.failed += failed
        self._done_seconds += seconds
        if self._bar is not None:
            self._bar.set_description_str(self._counts, refresh=False)
            self._bar.update(seconds)
        elif time.monotonic() - self._logged >= _LOG_INTERVAL:
            self._logged = time.monotonic()
            rate = self._done_seconds / (self._logged - self._started)
            left = max(0.0, self._seconds - self._done_seconds) / rate if rate > 0 else 0.0
            log(f"{self._counts}; {rate:.2f} s of audio per second, {in_words(left)} left")

    def close(self) -> None:
        """End the report."""
        if self._bar is not None:
            self._bar.close()

    @property
    def _counts(self) -> str:
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self._done} of {self._count}{failed}"
