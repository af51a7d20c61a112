"""Generation for the fidelity benchmark: one model at default sampling, and the clips it generated."""

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
CONTEXT_SECONDS = 5.0
"""Length of the audio that a continuation starts from."""

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One row of the table of figures."""

    name: str
    figure: str
    target: str
    met: bool
    numbers: dict[str, float]


class Bench:
    """Generates with one model at default sampling and keeps every clip for the collapse figures."""

    def __init__(self, load: Callable[[], MusicGenModel], clips: int) -> None:
        self.load, self.clips = load, clips
        self.generated: list[Audio] = []

    @cached_property
    def model(self) -> MusicGenModel:
        """The checkpoint, loaded on first use."""
        return self.load()

    @cached_property
    def readings(self) -> dict[bool, list[analysis.Reading]]:
        """Scores of the analysis of long clips, with drums (True) and without (False)."""
        scores: dict[bool, list[analysis.Reading]] = {True: [], False: []}
        for song, drums in analysis.songs(self.clips, analysis.SECONDS):
            scores[drums].append(analysis.read(song))
        return scores

    def songs(self, group: int, accept: Callable[[Song], bool] = lambda _song: True, **choices: object) -> list[Song]:
        """The first `clips` held-back songs in 4/4 that `accept` accepts; each group has different songs."""
        seeds = itertools.count(HELD_BACK + 1_000_000 * group)
        make = partial(Synthesiser().song, seconds=SECONDS, beats_per_bar=4, **choices)  # type: ignore[arg-type]
        return list(itertools.islice(filter(accept, map(make, seeds)), self.clips))

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[str | None],
        melodies: Sequence[Audio] | None = None,
        contexts: Sequence[Audio] | None = None,
        chromas: Sequence[torch.Tensor] | None = None,
        seconds: float = SECONDS,
        guidance: float = Sampling.guidance,
    ) -> list[Audio]:
        """Generate clips from prompts, melodies, chroma or contexts to continue; the context is cut off."""
        requests = []
        for index, prompt in enumerate(prompts):
            melody = torch.from_numpy(melodies[index])[None] if melodies else None
            tokens = self.model.encode(torch.from_numpy(contexts[index])[None]) if contexts else None
            chroma = chromas[index] if chromas else None
            length = seconds + (CONTEXT_SECONDS if contexts else 0)
            requests.append(
                SlotRequest(
                    condition=Condition(prompt, melody, chroma),
                    prefix_tokens=tokens,
                    length=round(length * self.model.frame_rate),
                    sampling=Sampling(guidance=guidance),
                    generator=torch.Generator(self.model.device).manual_seed(index),
                )
            )
        clips = []
        for tokens in self.model.generator.generate_many(requests, lambda _done, _of: None):
            audio: Audio = self.model.decode(tokens)[0].cpu().numpy()
            clips.append(audio[round(CONTEXT_SECONDS * SAMPLE_RATE) :] if contexts else audio)
        self.generated += clips
        return clips

    def round_trip(self, audio: Audio) -> tuple[Audio, NDArray[np.int64]]:
        """Encode and decode a clip; returns the audio and its codes ``[codebooks, frames]``."""
        codes = self.model.encode(torch.from_numpy(audio)[None])
        return self.model.decode(codes)[0].cpu().numpy()[: len(audio)], codes.cpu().numpy()
