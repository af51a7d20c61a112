"""What a model is to the generation paths, whatever family it is of."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import torch

from musicgen_service.engine.interface import OnStep, SlotRequest
from musicgen_service.models.text_reading import TextReading


class MelodySpan(NamedTuple):
    """How much chroma a model that takes a melody is conditioned on at once."""

    frames: int
    seconds: float


class MusicModel(Protocol):
    """A model that makes tokens from a condition, and sound from tokens."""

    @property
    def name(self) -> str:
        """In the catalogue."""
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
        """1 or 2."""
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
        """Frames that it attends to at most."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        ...

    @property
    def melody_span(self) -> MelodySpan | None:
        """The chroma that it is conditioned on; None when it takes no melody."""
        ...

    @property
    def separates_melody(self) -> bool:
        """Whether it learned melodies without drums and bass, so that they are to be given like that."""
        ...

    def read_text(self, text: str) -> TextReading:
        """How much of a description its text encoder understands."""
        ...

    def generate_tokens(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """Tokens int64 [codebooks, length] for several requests within one window; see `TokenGenerator`."""
        ...

    def stream(self, request: SlotRequest, chunk: int) -> Iterator[torch.Tensor]:
        """Sound [channels, chunk * hop] of one request within one window, while more is being made."""
        ...

    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """Audio [channels, samples] to tokens [codebooks, ceil(samples / hop)]."""
        ...

    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [codebooks, frames] to audio [channels, frames * hop]."""
        ...
