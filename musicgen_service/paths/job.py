"""The job that every path works on, and what paths share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment, Harmony
from musicgen_service.analysis.midi import Marker
from musicgen_service.analysis.transcription import Transcription
from musicgen_service.audio import loudness
from musicgen_service.audio.music import Music
from musicgen_service.audio.reading import Audio
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.listener import Listener
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths.windows import generate_tokens
from musicgen_service.requests.request import GenerationRequest


@dataclass(frozen=True)
class Clip:
    """A generated clip.

    Attributes
    ----------
    samples : float32 array [channels, samples] at the model's rate
    seed : the seed that it was generated with
    number : its position among the request's variations, from 1
    part : the name of a stem of that variation; empty for the complete clip
    stems : what it is made of, by name: arrays of its shape
    grid : its beats, where they are known and need not be tracked
    chords : the chords asked for, from its beginning to its end, where there are any
    sections : where the sections asked for start, where there are any
    music : what is known of its tempo and key, and of the bars of a loop
    midi : a MIDI file of what is heard in it, where the request asks for one
    rate : samples per second, where this is not the model's rate
    """

    samples: np.ndarray
    seed: int
    number: int
    part: str = ""
    stems: Mapping[str, np.ndarray] = field(default_factory=dict)
    grid: BeatGrid | None = None
    chords: Sequence[ChordSegment] = ()
    sections: Sequence[Marker] = ()
    midi: bytes | None = None
    music: Music = field(default_factory=Music)
    rate: int | None = None

    def cut(self, length: int) -> "Clip":
        """Return the clip cut to its first `length` samples."""
        return replace(self, samples=self.samples[:, :length])


class AnalysisTools(Protocol):
    """Analysis of recordings."""

    def melody(self, audio: Audio) -> Audio:
        """Extract the instruments that carry the melody."""
        ...

    def split(self, audio: Audio, report: Callable[[float], None]) -> tuple[Audio, Audio]:
        """Separate the vocals from everything else; `report` is called with the share (0 to 1) of the work done."""
        ...

    def sources(self, audio: Audio, report: Callable[[float], None]) -> Mapping[str, Audio]:
        """Separate the sources that a separator tells apart, `vocals` and others, by name; `report` as above."""
        ...

    def track(self, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        """Track the beats of samples; see `BeatTracker`."""
        ...

    def harmony(self, samples: np.ndarray, rate: int, grid: BeatGrid) -> Harmony:
        """The chords and key of samples with these beats; see `ChordRecogniser`."""
        ...

    def transcribe(self, samples: np.ndarray, rate: int) -> Transcription:
        """The notes of samples; see `Transcriber`."""
        ...


@dataclass(frozen=True)
class Job:
    """The clips to make for one request.

    Attributes
    ----------
    audio : the part of the client's audio to use, at its own rate; None without input audio
    decode : tokens [codebooks, frames] and a seed to audio [channels, frames * hop]: by codec, which needs no seed, or
        by diffusion
    analysis : analyses recordings
    report : called with the completed share (0 to 1) of the work
    listener : hears the first clip while it is made, where the task allows that; None for nobody
    chords_audio : the recording whose chords are asked for; None without one
    """

    request: GenerationRequest
    model: MusicModel
    audio: Audio | None
    decode: Callable[[torch.Tensor, int], torch.Tensor]
    analysis: AnalysisTools
    report: Callable[[float], None]
    listener: Listener | None = None
    chords_audio: Audio | None = None

    @property
    def seeds(self) -> Sequence[int]:
        """The seed of each clip."""
        return self.request.seeds

    @property
    def samples(self) -> int:
        """Requested length, in samples at the model's rate."""
        return round(self.request.duration * self.model.sample_rate)

    @property
    def output_rate(self) -> int:
        """Samples per second of what is heard while it is made."""
        return self.request.sample_rate or self.model.sample_rate

    @property
    def output_samples(self) -> int:
        """Requested length, in samples at `output_rate`."""
        return round(self.request.duration * self.output_rate)

    @property
    def frames(self) -> int:
        """Frames that cover `samples`."""
        return -(-self.samples // self.model.hop)

    @property
    def sampling(self) -> Sampling:
        """Sampling parameters of the request."""
        request = self.request
        return Sampling(request.top_k, request.top_p, request.temperature, request.classifier_free_guidance)

    def condition(self, melody: torch.Tensor | None = None, chroma: torch.Tensor | None = None) -> Condition:
        """Build a clip's condition: the request's texts, and optionally a melody or chroma."""
        return Condition(self.request.description, melody, chroma, self.request.negative_prompt)

    def required_audio(self) -> Audio:
        """Return the client's audio, for a path that requires it."""
        assert self.audio is not None, "the request was checked to have audio"
        return self.audio

    def generate_clips(
        self, condition_at: Callable[[int], Condition], prefix_tokens: torch.Tensor | None, frames: int
    ) -> Iterator[Clip]:
        """Generate and decode a clip [channels, frames * hop] for each seed; see `generate_tokens`."""
        clips = generate_tokens(self.model, condition_at, prefix_tokens, frames, self.sampling, self.seeds, self.report)
        for number, (seed, tokens) in enumerate(zip(self.seeds, clips, strict=True), 1):
            yield Clip(self.decode_tokens(tokens, seed), seed, number)

    def normalised(self, clip: Clip) -> Clip:
        """Return the clip normalised as the request asks for."""
        strategy = self.request.normalization_strategy
        return replace(clip, samples=loudness.normalise(clip.samples, self.model.sample_rate, strategy))

    def decode_tokens(self, tokens: torch.Tensor, seed: int) -> np.ndarray:
        """Decode tokens to a float32 array [channels, frames * hop] without infinities or NaN."""
        return self.as_samples(self.decode(tokens, seed))

    @staticmethod
    def as_samples(audio: torch.Tensor) -> np.ndarray:
        """Convert audio to a float32 array without infinities or NaN."""
        return np.nan_to_num(audio.float().cpu().numpy(), nan=0.0, posinf=1.0, neginf=-1.0)

    def cut(self, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        """Cut consecutive pieces [channels, samples] to the requested length altogether."""
        remaining = self.samples
        for piece in pieces:
            yield piece[:, :remaining]
            remaining -= min(remaining, piece.shape[1])


def scaled(report: Callable[[float], None], start: float, end: float) -> Callable[[float], None]:
    """Return a callback that reports the progress of one part of the work, from share `start` to `end` of the total."""
    return lambda share: report(start + (end - start) * share)
