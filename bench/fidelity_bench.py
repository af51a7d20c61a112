"""What the figures of fidelity are measured with: one model at default sampling, and the clips that it made."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

from bench import analysis
from demo.synth import HELD_BACK, SAMPLE_RATE, Song, Synthesiser
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models.musicgen import MusicGenModel

import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 10.0


GIVEN_SECONDS = 5.0  # what a continuation starts from


Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    figure: str
    target: str
    met: bool
    numbers: dict[str, float]


class Bench:
    """Generates with one model at default sampling and keeps every clip, to look for collapses at the end."""

    def __init__(self, load: Callable[[], MusicGenModel], clips: int) -> None:
        self.load, self.clips = load, clips
        self.made: list[Audio] = []

    @cached_property
    def model(self) -> MusicGenModel:
        """The checkpoint, loaded by the first group that needs one."""
        return self.load()

    @cached_property
    def readings(self) -> dict[bool, list[analysis.Reading]]:
        """What was read from long clips, by whether there are drums."""
        found: dict[bool, list[analysis.Reading]] = {True: [], False: []}
        for song, drums in analysis.songs(self.clips, analysis.SECONDS):
            found[drums].append(analysis.read(song))
        return found

    def songs(self, group: int, wanted: Callable[[Song], bool] = lambda _song: True, **choices: object) -> list[Song]:
        """`clips` held-back songs in 4/4, other ones for each group: the first that are `wanted`."""
        seeds = itertools.count(HELD_BACK + 1_000_000 * group)
        make = partial(Synthesiser().song, seconds=SECONDS, beats_per_bar=4, **choices)  # type: ignore[arg-type]
        return list(itertools.islice(filter(wanted, map(make, seeds)), self.clips))

    @torch.no_grad()
    def play(
        self,
        prompts: Sequence[str | None],
        melodies: Sequence[Audio] | None = None,
        given: Sequence[Audio] | None = None,
    ) -> list[Audio]:
        """Clips for prompts, melodies to follow or music to go on from; a continuation's given part is cut off."""
        requests = []
        for index, prompt in enumerate(prompts):
            melody = torch.from_numpy(melodies[index])[None] if melodies else None
            tokens = self.model.encode(torch.from_numpy(given[index])[None]) if given else None
            seconds = SECONDS + (GIVEN_SECONDS if given else 0)
            requests.append(
                SlotRequest(
                    condition=Condition(prompt, melody),
                    prefix_tokens=tokens,
                    length=round(seconds * self.model.frame_rate),
                    sampling=Sampling(),
                    generator=torch.Generator(self.model.device).manual_seed(index),
                )
            )
        clips = []
        for tokens in self.model.generator.generate_many(requests, lambda _done, _of: None):
            audio: Audio = self.model.decode(tokens)[0].cpu().numpy()
            clips.append(audio[round(GIVEN_SECONDS * SAMPLE_RATE) :] if given else audio)
        self.made += clips
        return clips

    def round_trip(self, audio: Audio) -> tuple[Audio, NDArray[np.int64]]:
        """What the codec makes of a clip, and its codes ``[codebooks, frames]``."""
        codes = self.model.encode(torch.from_numpy(audio)[None])
        return self.model.decode(codes)[0].cpu().numpy()[: len(audio)], codes.cpu().numpy()
