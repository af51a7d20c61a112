"""Carrying out a batch: several requests at a time, each delivered whole and then listed."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from musicgen_service import naming, notes
from musicgen_service.batch.client import Client, Reply
from musicgen_service.batch.clips import Describer
from musicgen_service.batch.errors import RequestFailed
from musicgen_service.batch.items import Item, shown_inputs
from musicgen_service.batch.manifest import FAILED, SUCCEEDED, Manifest, Shard
from musicgen_service.batch.progress import BatchProgress
from musicgen_service.progress import log

_Record = Callable[..., dict[str, Any]]
"""Makes a line of the manifest from a status and what else is said of a request."""


class Batch:
    """Carries out requests into a folder.

    Parameters
    ----------
    folder : exists; only this process writes to `manifest`
    shard : whose requests they are
    manifest : lists what is done
    describer : describes the clips
    """

    def __init__(self, folder: Path, shard: Shard, manifest: Manifest, describer: Describer) -> None:
        self._folder = folder
        self._manifest = manifest
        self._describer = describer
        self._unfinished = folder / f".{shard.labelled('unfinished')}"

    async def run(self, items: Sequence[Item], client: Client, progress: BatchProgress) -> None:
        """Carry out requests; those that fail are listed, and the others go on.

        When the task is cancelled, requests that are being made are dropped, and those that are being delivered are
        delivered: nothing is half there.

        Raises
        ------
        BatchError
            When no more requests can be carried out.
        """
        # What a process that was killed left there.
        shutil.rmtree(self._unfinished, ignore_errors=True)
        self._unfinished.mkdir()
        self._at_once = min(client.at_once, len(items))
        waiting = iter(items)
        slots = asyncio.Semaphore(client.at_once)

        async def work() -> None:
            for item in waiting:
                await self._carry_out(item, client, slots, progress)

        try:
            # Requests share the cores, which threads of numpy's products would take from others and wait on, spinning.
            with threadpool_limits(1, user_api="blas"):
                async with asyncio.TaskGroup() as group:
                    # While requests are made, as many others are described and delivered.
                    for _ in range(min(2 * client.at_once, len(items))):
                        group.create_task(work())
        except BaseExceptionGroup as errors:
            # The others ended by the first, or are like it.
            raise errors.exceptions[0] from None
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)

    async def _carry_out(self, item: Item, client: Client, slots: asyncio.Semaphore, progress: BatchProgress) -> None:
        def record(status: str, **more: Any) -> dict[str, Any]:
            timings = {
                "started_at": started[0].isoformat(timespec="milliseconds"),
                "seconds": round(time.monotonic() - started[1], 3),
                "at_once": self._at_once,
            }
            head = {"id": item.id, "name": item.name, "line": item.line, "status": status}
            return head | {"inputs": shown_inputs(item.inputs)} | more | {"timings": timings}

        place = self._unfinished / item.name
        place.mkdir()
        try:
            async with slots:
                started = datetime.now(UTC), time.monotonic()
                reply = await client.make(item, place)
            await _to_the_end(partial(self._deliver, item, reply, record, progress))
        except RequestFailed as error:
            await _to_the_end(partial(self._list_failure, item, str(error), record, progress))
        shutil.rmtree(place, ignore_errors=True)

    def _list_failure(self, item: Item, error: str, record: _Record, progress: BatchProgress) -> None:
        log(f"line {item.line} ({item.id}): {error}")
        self._manifest.append(record(FAILED, error=error))
        progress.advance(item.seconds, failed=True)

    def _deliver(self, item: Item, reply: Reply, record: _Record, progress: BatchProgress) -> None:
        """Describe the files of a request, move them to the folder, and list them."""
        names = _names(item.name, reply.files)
        clips: list[dict[str, Any]] = []
        with notes.collected(quiet=True) as noted:
            for file, name in zip(reply.files, names, strict=True):
                entry: dict[str, Any] = {"file": name, "bytes": file.stat().st_size}
                if file.suffix == f".{naming.MIDI}":
                    clips[-1]["midi"] = entry
                else:
                    clips.append(entry | self._describer.describe(file))
        told = list(dict.fromkeys([*reply.metrics.get("notes", []), *noted]))
        made = record(SUCCEEDED, clips=clips, **({"notes": told} if told else {}))
        if reply.metrics.get("predict_time") is not None:
            made["timings"]["predict_seconds"] = round(reply.metrics["predict_time"], 3)
        for file, name in zip(reply.files, names, strict=True):
            _sync(file)
            file.replace(self._folder / name)
        _sync(self._folder)
        self._manifest.append(made)
        progress.advance(item.seconds, failed=False)


def _names(name: str, files: Sequence[Path]) -> list[str]:
    """The names of a request's files: its own, and a label of each clip where there are several."""
    labels = [naming.label_in(file.stem) for file in files]
    clips = [label for label, file in zip(labels, files, strict=True) if file.suffix != f".{naming.MIDI}"]
    if len(set(clips)) < len(clips):
        labels = _numbered(files)
    ends = (f"-{label}" if label else "" for label in labels)
    return [f"{name}{end}{file.suffix}" for end, file in zip(ends, files, strict=True)]


def _numbered(files: Sequence[Path]) -> list[str]:
    """Numbers of clips; a MIDI file has that of the clip before it."""
    labels, number = [], 0
    for file in files:
        number += file.suffix != f".{naming.MIDI}"
        labels.append(f"{number:02d}")
    return labels


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _to_the_end(work: Callable[[], None]) -> None:
    """Do work in a thread, and see it through when this task is cancelled meanwhile."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Cancel the current task at signals that end the process; then raises SystemExit with their status.

    SIGINT is left to asyncio, which does the same.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def end(number: int) -> None:
        received.append(number)
        task.cancel()

    # Ignored signals stay ignored: `nohup` ignores SIGHUP.
    handled = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]
    for number in handled:
        loop.add_signal_handler(number, end, number)
    try:
        yield
    except asyncio.CancelledError:
        if received:
            raise SystemExit(128 + received[0]) from None
        raise
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
