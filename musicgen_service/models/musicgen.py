"""A MusicGen checkpoint in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from musicgen_service.engine import chunks
from musicgen_service.engine.interface import OnStep, SlotRequest, TokenGenerator
from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.music_model import MelodySpan
from musicgen_service.models.text_reading import TextReading


@dataclass
class MusicGenModel:
    """A `MusicModel`: audiocraft's networks, and our engine for the tokens.

    Attributes
    ----------
    name : in the catalogue
    lm, codec : audiocraft's; the engine has taken the decoder's weights out of `lm`
    generator : makes the tokens
    window : frames that it attends to at most
    width : of its transformer
    """

    name: str
    lm: Any
    codec: Any
    generator: TokenGenerator
    sample_rate: int
    channels: int
    frame_rate: int
    window: int
    width: int
    melody_span: MelodySpan | None
    device: torch.device

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.sample_rate // self.frame_rate

    @property
    def separates_melody(self) -> bool:
        """See `MusicModel.separates_melody`."""
        return CHECKPOINTS[self.name].separates_melody

    def read_text(self, text: str) -> TextReading:
        """How much of a description the text encoder understands."""
        return adapter.read_text(self.lm, text)

    def generate_tokens(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `MusicModel.generate_tokens`."""
        return self.generator.generate_many(requests, on_step)

    @torch.no_grad()
    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """See `MusicModel.encode`."""
        return chunks.encode(lambda chunk: self.codec.encode(chunk)[0], audio.to(self.device), self.hop)

    @torch.no_grad()
    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `MusicModel.decode`."""
        return chunks.decode(self._decode_chunk, tokens.to(self.device), self.hop)

    @torch.no_grad()
    def stream(self, request: SlotRequest, chunk: int) -> Iterator[torch.Tensor]:
        """See `MusicModel.stream`.

        Nothing else may be generated before the last chunk is out or the iterator is closed.

        Parameters
        ----------
        chunk : frames of sound at a time; the last chunk has the rest

        Yields
        ------
        float tensors [channels, chunk * hop]
        """
        tokens = self.generator.stream(request, chunks.LOOKAHEAD)
        yield from chunks.stream_decode(self._decode_chunk, tokens, self.hop, chunk)

    def _decode_chunk(self, codes: torch.Tensor) -> torch.Tensor:
        audio: torch.Tensor = self.codec.decode(codes, None)
        return audio
