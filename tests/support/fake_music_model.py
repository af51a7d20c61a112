"""A fake model with known output: its tokens are samples, and the synthesiser generates the music."""

import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from musicgen_service.analysis import beats, chords
from musicgen_service.analysis.beats import BeatTracker
from musicgen_service.analysis.transcription import Note, Transcription
from musicgen_service.audio.reading import Audio
from musicgen_service.engine.interface import OnStep, ScoreRequest, SlotRequest
from musicgen_service.models.music_model import MelodySpan, MusicModel
from musicgen_service.models.text_reading import TextReading
from musicgen_service.paths.job import Job
from musicgen_service.requests.fields import FIELDS
from musicgen_service.requests.request import GenerationRequest

RATE, HOP = 32_000, 640
Play = Callable[[int, float], np.ndarray]
"""A seed and a length in seconds to mono samples at `RATE`."""


@dataclass
class FakeMusicModel:
    """A `MusicModel`.

    Attributes
    ----------
    play : what is heard; a continuation is what another seed plays, after what it goes on from
    asked, scored : every slot request and every request for scores, in order, in groups that shared their steps
    """

    play: Play
    channels: int = 1
    window: int = 1500
    separates_melody: bool = False
    melody_span: MelodySpan | None = field(default_factory=lambda: MelodySpan(235, 30.0))
    asked: list[list[SlotRequest]] = field(default_factory=list)
    scored: list[list[ScoreRequest]] = field(default_factory=list)
    sample_rate: int = RATE
    frame_rate: int = RATE // HOP
    hop: int = HOP
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    name: str = "demo"
    adapters: Mapping[str, str] = field(default_factory=dict)
    width: int = 320
    lookahead: int = 8

    def read_text(self, text: str) -> TextReading:
        """All of it."""
        words = len(text.split())
        return TextReading(words + 1, 512, len(text), words, words)

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """Samples [channels, a multiple of `HOP`] to tokens [channels * HOP, frames]."""
        assert audio.shape[-1] % HOP == 0
        return (audio * 32767).round().long().reshape(self.channels, -1, HOP).permute(0, 2, 1).flatten(0, 1)

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens back to samples."""
        return tokens.reshape(self.channels, HOP, -1).permute(0, 2, 1).flatten(1) / 32767

    def generate_tokens(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """Generate the music of each request, after its prefix."""
        self.asked.append(list(requests))
        made = []
        for request in requests:
            known = 0 if request.prefix_tokens is None else request.prefix_tokens.shape[-1]
            music = self.play(request.generator.initial_seed(), (request.length - known) / self.frame_rate)
            sides = np.stack([music * (1 - 0.3 * side) for side in range(self.channels)])
            new = self.encode(torch.from_numpy(sides))
            made.append(new if request.prefix_tokens is None else torch.cat([request.prefix_tokens, new], dim=-1))
        on_step(1, 1)
        return made

    def score_tokens(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """What follows is the likelier the nearer its level is to that of the second before it."""
        self.scored.append(list(requests))
        scores = []
        for request in requests:
            before, after = (
                request.tokens[:, part] for part in (slice(None, request.start), slice(request.start, None))
            )
            level, following = (float(part.float().abs().mean()) for part in (before[:, -self.frame_rate :], after))
            scores.append(torch.full(after.shape, -abs(level - following)))
        return scores

    def stream_tokens(
        self, requests: Sequence[SlotRequest], on_step: OnStep
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """The tokens of the first request, frame by frame."""
        made = self.generate_tokens(requests, on_step)
        prefix = requests[0].prefix_tokens
        new = made[0][:, 0 if prefix is None else prefix.shape[-1] :]
        yield from torch.split(new, 1, dim=-1)
        return made

    def stream_audio(self, tokens: Iterable[torch.Tensor], sizes: Iterable[int]) -> Iterator[torch.Tensor]:
        """Tokens back to samples, in pieces."""
        known, done = torch.cat(list(tokens), dim=-1), 0
        for size in itertools.chain(sizes, itertools.repeat(1500)):
            if done >= known.shape[-1]:
                return
            yield self.decode(known[:, done : done + size])
            done += size


@dataclass(frozen=True)
class FakeAnalysis:
    """An `AnalysisTools` made of functions; those not given must not be called."""

    parts: Callable[[Audio], tuple[Audio, Audio]]
    track: BeatTracker

    def split(self, audio: Audio, report: Callable[[float], None]) -> tuple[Audio, Audio]:
        """The two parts, at once."""
        report(1.0)
        return self.parts(audio)

    def sources(self, audio: Audio, report: Callable[[float], None]) -> dict[str, Audio]:
        """The two parts, under the names of a separator of two sources."""
        vocals, accompaniment = self.split(audio, report)
        return {"vocals": vocals, "accompaniment": accompaniment}

    def harmony(self, samples: np.ndarray, rate: int, grid: beats.BeatGrid) -> chords.Harmony:
        """Recognise without trained weights."""
        return chords.recognise(samples, rate, grid)

    def transcribe(self, _samples: np.ndarray, _rate: int) -> Transcription:
        """One note."""
        return Transcription([Note(0.0, 0.5, 69, 100)], [])

    def melody(self, audio: Audio) -> Audio:
        """Return the audio unchanged."""
        return audio


def job_for(
    model: MusicModel,
    song: Audio | None = None,
    split: Callable[[Audio], tuple[Audio, Audio]] | None = None,
    track: BeatTracker = beats.track,
    **inputs: Any,
) -> Job:
    """Create a job for a generation path."""
    values = {name: spec.default for name, spec in FIELDS.items()} | {"seed": 5} | inputs

    def nothing(audio: Audio) -> Any:
        raise AssertionError("not to be used here")

    return Job(
        GenerationRequest(**values),
        model,
        song,
        lambda tokens, _seed: model.decode(tokens),
        FakeAnalysis(split or nothing, track),
        lambda _share: None,
    )


def jump_at_the_seam(loop: np.ndarray) -> float:
    """Step from a loop's last sample to its first, relative to the 99.9th percentile of its other steps."""
    steps = np.abs(np.diff(loop, axis=1))
    return float(np.abs(loop[:, 0] - loop[:, -1]).max() / np.quantile(steps, 0.999))
