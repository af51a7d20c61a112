"""Interface of music models, as the generation paths use it, independent of the model family."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch

from musicgen_service.engine.interface import OnStep, ScoreRequest, SlotRequest
from musicgen_service.models.text_reading import TextReading


class MelodySpan(NamedTuple):
    """Length of the chroma that a melody model is conditioned on."""

    frames: int
    seconds: float


class MusicModel(Protocol):
    """A model that generates tokens from a condition and decodes them to audio."""

    @property
    def name(self) -> str:
        """In the catalogue."""
        ...

    @property
    def adapters(self) -> Mapping[str, str]:
        """The SHA-256 of each adapter that it has, by name."""
        ...

    @property
    def width(self) -> int:
        """Of its transformer."""
        ...

    @property
    def sample_rate(self) -> int:
        """Samples per second of its audio."""
        ...

    @property
    def channels(self) -> int:
        """Number of audio channels, 1 or 2."""
        ...

    @property
    def frame_rate(self) -> int:
        """Frames of tokens per second."""
        ...

    @property
    def hop(self) -> int:
        """Samples per frame."""
        ...

    @property
    def window(self) -> int:
        """Maximum number of frames that it attends to."""
        ...

    @property
    def lookahead(self) -> int:
        """Frames that must be known after one whose audio is decoded."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of its tensors."""
        ...

    @property
    def melody_span(self) -> MelodySpan | None:
        """Length of the chroma that it is conditioned on; None when it takes no melody."""
        ...

    @property
    def separates_melody(self) -> bool:
        """Whether it was trained on melodies without drums and bass, and expects them in that form."""
        ...

    def read_text(self, text: str) -> TextReading:
        """How much of a description its text encoder understands."""
        ...

    def generate_tokens(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """Generate tokens int64 [codebooks, length] for several requests within one window; see `TokenGenerator`."""
        ...

    def stream_tokens(
        self, requests: Sequence[SlotRequest], on_step: OnStep
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """Do what `generate_tokens` does, and yield those of the first request; see `TokenGenerator.stream`."""
        ...

    def score_tokens(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """Compute how likely given tokens are, after those before them.

        Returns
        -------
        Logarithms of probabilities, float32 [codebooks, frames from `start` on], for each request
        """
        ...

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """Encode audio [channels, samples] to tokens [codebooks, ceil(samples / hop)]."""
        ...

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Decode tokens [codebooks, frames] to audio [channels, frames * hop]."""
        ...

    def stream_audio(self, tokens: Iterable[torch.Tensor], sizes: Iterable[int]) -> Iterator[torch.Tensor]:
        """Decode tokens while more arrive, in pieces of so many frames each; see `codec_stream.decode`."""
        ...
