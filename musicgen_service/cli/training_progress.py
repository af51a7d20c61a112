"""What a training says: for people, with a bar on a terminal and lines in a log; for programs, as lines of JSON."""

import json
import sys
import time
from typing import Any

from tqdm import tqdm

from musicgen_service.models.adapters import Adapter
from musicgen_service.progress import columns, log
from musicgen_service.training import listening
from musicgen_service.training.progress import line
from musicgen_service.training.run import Songs

_LOG_INTERVAL = 20.0


class _Stage:
    """A stage of a training, which may begin in its middle.

    Parameters
    ----------
    first : how much of it was done when it was first heard of
    """

    def __init__(self, name: str = "", first: int = 0) -> None:
        self.name = name
        self._first = first
        self._began = time.monotonic()

    def seconds_left(self, done: int, total: int) -> float | None:
        """How long it goes on; None as long as nothing was measured."""
        if done <= self._first:
            return None
        return (time.monotonic() - self._began) / (done - self._first) * (total - done)


class TrainingProgress:
    """Reports one stage of a training after the other."""

    def __init__(self) -> None:
        self._stage = _Stage()
        self._bar: tqdm[Any] | None = None
        self._logged = 0.0

    def report(self, stage: str, done: int, total: int, more: str) -> None:
        """Report that `done` of `total` of a stage are done; `more` is said with it."""
        if stage != self._stage.name:
            self.close()
            self._stage, self._logged = _Stage(stage, done), time.monotonic()
            if sys.stderr.isatty():
                self._bar = tqdm(total=total, desc=stage, initial=done - 1, ncols=columns())
        if self._bar is not None:
            self._bar.set_postfix_str(more, refresh=False)
            self._bar.update(done - self._bar.n)
            return
        now = time.monotonic()
        if now - self._logged >= _LOG_INTERVAL or done == total:
            self._logged = now
            log(line(stage, done, total, more, self._stage.seconds_left(done, total)))

    def understood(self, songs: Songs) -> None:
        """Print what is understood of the songs."""
        self.close()
        print(listening.table(songs.songs))
        print(_summary(songs), flush=True)

    def trained(self, adapter: Adapter, trigger: str | None) -> None:
        """Say where the adapter is, and how it is used."""
        print(f"trained: {adapter.folder}")
        print(f'use it with: predict "{trigger or "..."}" -i adapter={adapter.name}')

    def close(self) -> None:
        """End the report of the current stage."""
        if self._bar is not None:
            self._bar.close()
        self._bar, self._stage = None, _Stage()


class TrainingLines(TrainingProgress):
    """The same as lines of JSON on standard output, each an object with one of `stage`, `songs` and `adapter`."""

    def report(self, stage: str, done: int, total: int, more: str) -> None:
        """Print how far a stage is, and how many seconds are left of it."""
        if stage != self._stage.name:
            self._stage = _Stage(stage, done)
        left = self._stage.seconds_left(done, total)
        seconds = None if left is None else round(left, 1)
        _write({"stage": stage, "done": done, "total": total, "more": more, "seconds_left": seconds})

    def understood(self, songs: Songs) -> None:
        """Print what is understood of each song."""
        _write({"songs": [song.summary for song in songs.songs], "others": songs.others, "summary": _summary(songs)})

    def trained(self, adapter: Adapter, trigger: str | None) -> None:
        """Print the adapter as `adapters list --json` has it, and its trigger."""
        _write({"adapter": {**adapter.summary, "trigger": trigger}})


def _write(event: dict[str, Any]) -> None:
    print(json.dumps(event), flush=True)


def _summary(songs: Songs) -> str:
    left_out = len(songs.songs) - len(songs.used)
    pieces = sum(len(song.pieces) for song in songs.used)
    counts = f"{_counted(len(songs.used), 'song')}, {_counted(pieces, 'piece')}"
    text = f"{counts}, {songs.seconds / 60:.1f} minutes; {_counted(left_out, 'song')} left out"
    if songs.others:
        shown = ", ".join(songs.others[:5]) + (", ..." if len(songs.others) > 5 else "")
        text += f"\nnot songs, left alone: {shown}"
    return text


def _counted(count: int, name: str) -> str:
    return f"{count} {name}" if count == 1 else f"{count} {name}s"
