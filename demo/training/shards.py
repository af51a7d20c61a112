"""The language model's training data: songs encoded in shards, written by a separate process, drawn in batches."""

import musicgen_service.models.audiocraft_imports  # noqa: F401  # isort: skip  (before a writer is given its chroma)
import multiprocessing
import os
import threading
import time
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from demo.synth import seeds
from demo.synth.captions import without_tempo, write_for_drums
from demo.training.files import load, remove_partial, save
from demo.training.quantiser import Quantiser
from demo.training.songs import FRAME_RATE, language_song

SHARD_SECONDS = (10.0, 10.0, 10.0, 20.0)
"""Lengths of the songs in every four shards: mostly short ones, which are more varied for the same number of frames;
the long ones teach the positions after 10 s."""
DRUM_SHARDS = 12  # at most: clips of drums alone vary little
FIRST_SHARDS, STEPS_PER_SHARD = 12, 40
"""Shards that the first steps draw from, and steps until one more is used. Songs are synthesised during training, which
can so start at once; a core makes a shard in less time than 40 steps take."""
BATCH_FRAMES = 2000  # of clips of one length: four of 10 s or two of 20 s
LONG_BATCHES = 0.2  # share of batches of 20 s clips
DRUMS_FIRST, DRUMS_LAST, DRUM_STEPS = 0.5, 0.1, 800
"""Share of clips of drums alone at the start and at the minimum, and the step at which the linear decrease would reach
0: a curriculum, as tempo is easiest to learn from drums alone."""
LEAD_MELODIES = 0.6
"""Share of melodies taken from the lead; the others are taken from the full mix, as the service takes the chroma of
any input audio."""
NO_TEXT, NO_TEMPO, NO_MELODY, NO_CONDITION = 0.1, 0.08, 0.45, 0.3
"""Shares of clips without one condition, or without any. Guidance needs the last; with 10 % instead of 30 %, music
continued without a prompt thinned out and fell silent."""


@dataclass
class Shard:
    """Encoded songs of one length.

    Attributes
    ----------
    codes : ``[songs, CODEBOOKS, frames]``
    lead, mix : pitch class of every step of the melody prefix, ``[songs, steps]``, of the lead (or the chords
        where there is no lead) and of the full mix
    captions : one for each song
    """

    codes: Tensor
    lead: Tensor
    mix: Tensor
    captions: list[str]


@torch.no_grad()
def make_shard(
    quantiser: Quantiser,
    chroma: torch.nn.Module,
    first: int,
    songs: int,
    seconds: float,
    drums_alone: bool = False,
) -> Shard:
    """Synthesise songs, or their drums alone, and encode them with the quantiser.

    Parameters
    ----------
    first : number of the first song, counted from `seeds.LANGUAGE_MODEL`
    """
    codes, lead, mix, captions = [], [], [], []
    for number in range(first, first + songs):
        song = language_song(seeds.LANGUAGE_MODEL + number, seconds, drums_alone or None)
        drums = torch.from_numpy(song.stems["drums"])[None]
        audio = drums if drums_alone else torch.from_numpy(song.audio)[None]
        melody = torch.from_numpy(song.stems["lead" if song.lead else "chords"])[None]
        codes.append(quantiser.encode(quantiser.latent(drums, audio - drums)).short())
        lead.append(chroma(melody[:, None]).argmax(-1).byte())
        mix.append(chroma(audio[:, None]).argmax(-1).byte())
        random = np.random.default_rng(number)
        captions.append(write_for_drums(song.bpm, song.style, random) if drums_alone else song.caption)
    return Shard(torch.cat(codes), torch.cat(lead), torch.cat(mix), captions)


class Shards:
    """The shards in a folder.

    Parameters
    ----------
    count : shards of songs; up to DRUM_SHARDS of drums alone, of the shortest songs, come with them
    songs : songs of the shortest length in a shard; every shard has as many seconds
    """

    def __init__(self, folder: Path, count: int, songs: int) -> None:
        self.folder, self.count, self.songs = folder, count, songs
        self.drum_count = min(DRUM_SHARDS, count)

    def path(self, index: int, drums_alone: bool = False) -> Path:
        """The path of a shard, whether it exists yet or not."""
        return self.folder / f"{'drums' if drums_alone else 'songs'}{index:04d}.pt"

    def write(self, quantiser: Quantiser, chroma: torch.nn.Module) -> None:
        """Write all missing shards, those of drums first."""
        for drums_alone, count in ((True, self.drum_count), (False, self.count)):
            for index in range(count):
                path = self.path(index, drums_alone)
                if path.exists():
                    continue
                seconds = SHARD_SECONDS[0] if drums_alone else SHARD_SECONDS[index % len(SHARD_SECONDS)]
                songs = round(self.songs * SHARD_SECONDS[0] / seconds)
                first = index * self.songs + (seeds.DRUMS_ALONE - seeds.LANGUAGE_MODEL) * drums_alone
                save(path, vars(make_shard(quantiser, chroma, first, songs, seconds, drums_alone)))


class ShardWriter:
    """A process that writes shards until the block or the parent process ends."""

    def __init__(self, shards: Shards, quantiser: Quantiser, chroma: torch.nn.Module) -> None:
        # Spawned, as a fork of a process in which torch has threads may hang.
        context = multiprocessing.get_context("spawn")
        self.shards = shards
        self.process = context.Process(target=_write, args=(shards, quantiser, chroma), daemon=True)

    def __enter__(self) -> "ShardWriter":
        self.process.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.join()
        remove_partial(self.shards.folder)

    def wait_for(self, path: Path) -> Shard:
        """Wait until a shard has been written, and load it.

        Raises
        ------
        RuntimeError
            When the writing process has failed.
        """
        while not path.exists():
            if self.process.exitcode:
                raise RuntimeError(f"{path} is missing: the process that writes shards failed; its error is above.")
            time.sleep(0.2)
        return Shard(**load(path))


def _write(shards: Shards, quantiser: Quantiser, chroma: torch.nn.Module) -> None:
    """Main function of the writer's process. It ends with its parent, even if that is killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def exit_with_parent() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=exit_with_parent, daemon=True).start()
    torch.set_num_threads(1)  # the other cores are used for training
    shards.write(quantiser, chroma)


class BatchSampler:
    """Draws the batch of a step from the shards available at that step; the same step always draws the same batch."""

    def __init__(self, shards: Shards, writer: ShardWriter) -> None:
        self.shards, self.writer = shards, writer
        self.loaded: dict[Path, Shard] = {}

    def _shard(self, path: Path) -> Shard:
        if path not in self.loaded:
            self.loaded[path] = self.writer.wait_for(path)
        return self.loaded[path]

    def batch(self, step: int) -> tuple[Tensor, list[str | None], list[Tensor | None]]:
        """Codes ``[clips, CODEBOOKS, frames]``, captions and melodies of a batch, with some conditions left out."""
        random = np.random.default_rng(step)
        available = min(self.shards.count, FIRST_SHARDS + step // STEPS_PER_SHARD)
        long = random.random() < LONG_BATCHES
        lengths = [SHARD_SECONDS[index % len(SHARD_SECONDS)] for index in range(available)]
        seconds = max(SHARD_SECONDS) if long else min(SHARD_SECONDS)
        songs = [self.shards.path(index) for index in range(available) if lengths[index] == seconds]
        drums = [self.shards.path(index, drums_alone=True) for index in range(self.shards.drum_count)]
        drum_share = 0 if long else max(DRUMS_LAST, DRUMS_FIRST * (1 - step / DRUM_STEPS))
        picks = []
        for _ in range(BATCH_FRAMES // round(seconds * FRAME_RATE)):
            choices = drums if random.random() < drum_share else songs
            picks.append(self._shard(choices[int(random.integers(len(choices)))]))
        codes, captions, melodies = [], [], []
        for shard in picks:
            song = int(random.integers(len(shard.captions)))
            codes.append(shard.codes[song].long())
            unconditioned = random.random() < NO_CONDITION
            caption = shard.captions[song]
            if random.random() < NO_TEMPO:
                caption = without_tempo(caption)
            captions.append(None if unconditioned or random.random() < NO_TEXT else caption)
            melody = (shard.lead if random.random() < LEAD_MELODIES else shard.mix)[song]
            melodies.append(None if unconditioned or random.random() < NO_MELODY else melody)
        return torch.stack(codes), captions, melodies
