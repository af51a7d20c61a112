"""What every path is given, and what they share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.audio import loudness
from musicgen_service.audio.reading import Audio
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths.windows import generate_tokens
from musicgen_service.requests.request import GenerationRequest


@dataclass(frozen=True)
class Clip:
    """What a path makes.

    Attributes
    ----------
    samples : float32 array [channels, samples] at the model's rate
    seed : the one it was drawn with
    number : its place among the request's variations, from 1
    part : `backing` or `vocals` when it is one part of that variation; empty for the whole
    """

    samples: np.ndarray
    seed: int
    number: int
    part: str = ""

    def cut(self, length: int) -> "Clip":
        """The first `length` samples of it."""
        return replace(self, samples=self.samples[:, :length])


class AnalysisTools(Protocol):
    """What listens to recordings."""

    def melody(self, audio: Audio) -> Audio:
        """The instruments that carry the melody."""
        ...

    def split(self, audio: Audio) -> tuple[Audio, Audio]:
        """The vocals, and everything else."""
        ...

    def track(self, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        """The beats of samples; see `BeatTracker`."""
        ...


@dataclass(frozen=True)
class Job:
    """The clips to make for one request.

    Attributes
    ----------
    audio : the part of the client's audio to use, at its own rate; None without input audio
    decode : tokens [codebooks, frames] and a seed to audio [channels, frames * hop]: by codec, which needs no seed, or
        by diffusion
    analysis : what listens to recordings
    report : told the share (0 to 1) of the work that is done
    """

    request: GenerationRequest
    model: MusicModel
    audio: Audio | None
    decode: Callable[[torch.Tensor, int], torch.Tensor]
    analysis: AnalysisTools
    report: Callable[[float], None]

    @property
    def seeds(self) -> Sequence[int]:
        """The seed of each clip."""
        return self.request.seeds

    @property
    def samples(self) -> int:
        """Length asked for, in samples at the model's rate."""
        return round(self.request.duration * self.model.sample_rate)

    @property
    def frames(self) -> int:
        """Frames that cover `samples`."""
        return -(-self.samples // self.model.hop)

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn."""
        request = self.request
        return Sampling(request.top_k, request.top_p, request.temperature, request.classifier_free_guidance)

    def condition(self, melody: torch.Tensor | None = None, chroma: torch.Tensor | None = None) -> Condition:
        """What a clip is conditioned on: the request's description, and a melody or chroma beside it."""
        return Condition(self.request.description, melody, chroma)

    def required_audio(self) -> Audio:
        """The client's audio, for a path that cannot do without."""
        assert self.audio is not None, "the request was checked to have audio"
        return self.audio

    def sounds(
        self, condition_at: Callable[[int], Condition], prompt: torch.Tensor | None, frames: int
    ) -> Iterator[Clip]:
        """Generate and decode: for each seed a clip [channels, frames * hop]; see `generate_tokens`."""
        tokens = generate_tokens(self.model, condition_at, prompt, frames, self.sampling, self.seeds, self.report)
        for number, (seed, clip) in enumerate(zip(self.seeds, tokens, strict=True), 1):
            yield Clip(self.sound(clip, seed), seed, number)

    def normalised(self, clip: Clip) -> Clip:
        """The clip at the level that the request asks for."""
        strategy = self.request.normalization_strategy
        return replace(clip, samples=loudness.normalise(clip.samples, self.model.sample_rate, strategy))

    def sound(self, tokens: torch.Tensor, seed: int) -> np.ndarray:
        """Tokens to a float32 array [channels, frames * hop] without infinities or NaN."""
        audio = self.decode(tokens, seed).float().cpu().numpy()
        return np.nan_to_num(audio, nan=0.0, posinf=1.0, neginf=-1.0)


def scaled(report: Callable[[float], None], start: float, end: float) -> Callable[[float], None]:
    """Reports the progress of one part of the work, from share `start` to share `end` of the whole."""
    return lambda share: report(start + (end - start) * share)
