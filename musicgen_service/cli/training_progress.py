"""Progress of a training on standard error: a bar with the time left on a terminal, lines in a log."""

import sys
import time
from typing import Any

from tqdm import tqdm

from musicgen_service.batch.progress import in_words
from musicgen_service.progress import columns, log

_LOG_INTERVAL = 20.0


class TrainingProgress:
    """Reports one stage of a training after the other."""

    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None
        self._began = self._logged = 0.0
        self._first = 0

    def report(self, stage: str, done: int, total: int, more: str) -> None:
        """Report that `done` of `total` of a stage are done; `more` is said with it."""
        if stage != self._stage:
            self._begin(stage, done, total)
        if self._bar is not None:
            self._bar.set_postfix_str(more, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._logged >= _LOG_INTERVAL or done == total:
            self._logged = now
            left = (now - self._began) / max(1, done - self._first) * (total - done)
            log(f"{stage}: {done} of {total}{', ' * bool(more)}{more}; {in_words(left)} left")

    def close(self) -> None:
        """End the report of the current stage."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, ""

    def _begin(self, stage: str, done: int, total: int) -> None:
        self.close()
        self._stage, self._first = stage, done - 1
        self._began = self._logged = time.monotonic()
        if sys.stderr.isatty():
            self._bar = tqdm(total=total, desc=stage, initial=done - 1, ncols=columns())
