"""Trainings: one at a time, others wait for their turn; previews, which train nothing, have a turn of their own."""

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from musicgen_service import folders
from musicgen_service.inputs import data_uri, served_files
from musicgen_service.inputs.data_uri import DataUriError
from musicgen_service.serving import files, training_inputs, training_process
from musicgen_service.serving.fair_queue import FairQueue
from musicgen_service.serving.files import Files
from musicgen_service.serving.refusals import BROKEN, Refusal
from musicgen_service.serving.training import Training
from musicgen_service.serving.training_records import INTERRUPTED, TrainingRecords

PREFIX = "musicgen-training-"
_PLACES = 10
"""Number of trainings that may wait, and of previews."""
_RETRY_AFTER = 60


@dataclass
class _Lane:
    """Trainings that are carried out one after the other."""

    queue: FairQueue[Training] = field(default_factory=lambda: FairQueue[Training](_PLACES))
    running: Training | None = None


class Trainings:
    """Lets trainings wait for their turn and has them carried out.

    Parameters
    ----------
    records : all that are kept, those that have not ended among them
    kept : the files of the service, among them uploaded songs
    """

    def __init__(self, records: TrainingRecords, kept: Files) -> None:
        self.records = records
        self._files = kept
        self._lanes = {is_preview: _Lane() for is_preview in (False, True)}
        self._unfinished: dict[str, Training] = {}
        self._folders: dict[Training, folders.OwnFolder] = {}
        self._songs: dict[Training, list[str]] = {}
        self._runs: dict[Training, asyncio.Task[str | None]] = {}
        self._tasks = set[asyncio.Task[None]]()

    def tokens(self) -> set[str]:
        """The tokens of uploaded songs of trainings that have not ended."""
        found = [served_files.split(song) for training in self._songs for song in training.request.songs]
        return {parts[0] for parts in found if parts}

    def find(self, owner: str, training_id: str) -> Training | None:
        """A client's training that has not ended."""
        found = self._unfinished.get(training_id)
        return found if found is not None and found.owner == owner else None

    def position(self, training: Training) -> int | None:
        """Number of trainings that come before it; None when it does not wait."""
        return self._lanes[training.request.is_preview].queue.position(training.owner, training)

    async def add(self, training: Training, taken_on: Callable[[], None]) -> None:
        """Let a training wait for its turn.

        Parameters
        ----------
        taken_on : called when nothing refuses it any more, before it starts

        Raises
        ------
        Refusal
            When too many wait, another one has its name, or its songs cannot be taken.
        """
        lane, name = self._lanes[training.request.is_preview], training.request.name
        self._check_place(lane, training)
        folder = await asyncio.to_thread(folders.OwnFolder, PREFIX)
        try:
            songs = await asyncio.to_thread(self._local, training.request.songs, folder.path)
            # Others may have come meanwhile.
            self._check_place(lane, training)
            if not training.request.is_preview and any(
                other.request.name == name and not other.request.is_preview for other in self._unfinished.values()
            ):
                raise Refusal(409, f"'{name}' is being trained already: wait, or choose another name.")
        except BaseException:
            folder.remove()
            raise
        taken_on()
        # What was sent in place is on the disk now.
        shown = tuple(training_inputs.without_data(training.request.songs))
        training.request = replace(training.request, songs=shown)
        self._unfinished[training.id] = training
        self._folders[training], self._songs[training] = folder, songs
        await asyncio.to_thread(self.records.put, training.as_record())
        if training.is_cancelled:
            await self._end(training, "canceled")
        else:
            lane.queue.add(training.owner, training)
            self._start_next(lane)

    async def cancel(self, training: Training) -> None:
        """End a training; what it has learned is kept for another one of its name."""
        training.is_cancelled = True
        lane = self._lanes[training.request.is_preview]
        if lane.queue.remove(training.owner, training):
            await self._end(training, "canceled")
            return
        if training in self._runs:
            self._runs[training].cancel()
        await training.ended.wait()

    async def close(self) -> None:
        """End all trainings, as the service is shutting down."""
        for lane in self._lanes.values():
            while len(lane.queue):
                await self._end(lane.queue.take(), "failed", INTERRUPTED)
        for run in list(self._runs.values()):
            run.cancel()
        await asyncio.gather(*self._tasks)

    def _check_place(self, lane: _Lane, training: Training) -> None:
        if not lane.queue.has_place(training.owner):
            raise Refusal(429, "Too many trainings are waiting: try again later.", retry_after=_RETRY_AFTER)

    def _local(self, songs: Sequence[str], folder: Path) -> list[str]:
        """Paths of uploaded songs and of those in data URIs, which are written to the folder; other addresses stay."""
        found = []
        for number, song in enumerate(songs):
            if (file := self._files.at_url(song)) is not None:
                found.append(str(file))
            elif song.lstrip()[:5].lower() == "data:":
                try:
                    content = data_uri.decode(song.strip())
                except DataUriError as error:
                    raise Refusal(422, f"{training_inputs.SONGS} could not be fetched: {error}") from None
                extension = files.extension(song.lstrip()[5:].partition(",")[0])
                path = folder / f"song-{number + 1}.{extension}"
                path.write_bytes(content)
                found.append(str(path))
            else:
                found.append(song)
        return found

    def _start_next(self, lane: _Lane) -> None:
        if lane.running is None and len(lane.queue):
            training = lane.running = lane.queue.take()
            training.start()
            words = training_inputs.words(training.request.values, training.base)
            run = training_process.run(training, words, self._songs[training], self._folders[training].path)
            # A task of its own, which may be cancelled before its first step, too.
            self._runs[training] = asyncio.create_task(run)
            self._tasks.add(task := asyncio.create_task(self._carry_out(lane, training)))
            task.add_done_callback(self._tasks.discard)

    async def _carry_out(self, lane: _Lane, training: Training) -> None:
        ending: tuple[str, str | None]
        try:
            error = await self._runs[training]
            ending = ("succeeded", None) if error is None else ("failed", error)
        except asyncio.CancelledError:
            ending = ("canceled", None) if training.is_cancelled else ("failed", INTERRUPTED)
        except Exception as problem:
            traceback.print_exception(problem)
            ending = "failed", BROKEN
        del self._runs[training]
        await self._end(training, *ending)
        lane.running = None
        self._start_next(lane)

    async def _end(self, training: Training, status: str, error: str | None = None) -> None:
        training.settle(status, error)
        try:
            await asyncio.to_thread(self.records.put, training.as_record())
        finally:
            self._songs.pop(training, None)
            self._folders.pop(training).remove()
            self._unfinished.pop(training.id, None)
            training.conclude()
