"""A MusicGen checkpoint in memory."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from musicgen_service.engine.interface import OnStep, ScoreRequest, SlotRequest, TokenGenerator
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.models.checkpoint_config import LanguageModelConfig
from musicgen_service.models.encodec import Encodec, StereoEncodec
from musicgen_service.models.music_model import MelodySpan
from musicgen_service.models.t5_encoder import T5Encoder
from musicgen_service.models.text_reading import TextReading
from musicgen_service.models.tokenizer import TextTokenizer


@dataclass
class MusicGenModel:
    """The `MusicModel` of a MusicGen checkpoint.

    Attributes
    ----------
    name : in the catalogue
    label : its name, or for a copy with adapters the name and theirs; no two loaded models have the same
    adapters : the SHA-256 of each of its adapters, by name
    config : of its language model
    tokenizer : of descriptions
    text_encoder : of descriptions; None where the generator has its own
    codec : encodes audio to tokens and decodes tokens to audio
    generator : generates the tokens
    """

    name: str
    label: str
    adapters: Mapping[str, str]
    config: LanguageModelConfig
    tokenizer: TextTokenizer
    text_encoder: T5Encoder | None
    codec: Encodec | StereoEncodec
    generator: TokenGenerator
    device: torch.device

    @property
    def sample_rate(self) -> int:
        """Samples per second of its audio."""
        return self.codec.sample_rate

    @property
    def channels(self) -> int:
        """Number of audio channels, 1 or 2."""
        return self.codec.channels

    @property
    def frame_rate(self) -> int:
        """Frames of tokens per second."""
        return self.codec.frame_rate

    @property
    def hop(self) -> int:
        """Samples per frame."""
        return self.sample_rate // self.frame_rate

    @property
    def window(self) -> int:
        """Maximum number of frames that it attends to."""
        return int(self.config.window * self.frame_rate)

    @property
    def lookahead(self) -> int:
        """See `MusicModel.lookahead`."""
        return self.codec.lookahead

    @property
    def width(self) -> int:
        """Width of its transformer."""
        return self.config.decoder.dim

    @property
    def melody_span(self) -> MelodySpan | None:
        """See `MusicModel.melody_span`."""
        return self.config.melody_span

    @property
    def separates_melody(self) -> bool:
        """See `MusicModel.separates_melody`."""
        return CHECKPOINTS[self.name].separates_melody

    def read_text(self, text: str) -> TextReading:
        """Report how much of a description the text encoder understands."""
        return self.tokenizer.read(text)

    def generate_tokens(self, requests: Sequence[SlotRequest], on_step: OnStep) -> list[torch.Tensor]:
        """See `MusicModel.generate_tokens`."""
        return self.generator.generate_many(requests, on_step)

    def stream_tokens(
        self, requests: Sequence[SlotRequest], on_step: OnStep
    ) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
        """See `MusicModel.stream_tokens`."""
        return self.generator.stream(requests, on_step)

    def score_tokens(self, requests: Sequence[ScoreRequest]) -> list[torch.Tensor]:
        """See `MusicModel.score_tokens`."""
        scores = []
        for request, logits in zip(requests, self.generator.score_many(requests), strict=True):
            given = request.tokens[:, request.start :, None].to(logits.device)
            scores.append(logits.log_softmax(-1).gather(-1, given)[..., 0])
        return scores

    @torch.no_grad()
    def encode(self, audio: torch.Tensor) -> torch.Tensor:
        """See `MusicModel.encode`."""
        return self.codec.encode(audio.to(self.device)[None])[0]

    @torch.no_grad()
    def decode(self, tokens: torch.Tensor) -> torch.Tensor:
        """See `MusicModel.decode`."""
        return torch.cat(list(self.stream_audio([tokens], [])), dim=-1)

    @torch.no_grad()
    def stream_audio(self, tokens: Iterable[torch.Tensor], sizes: Iterable[int]) -> Iterator[torch.Tensor]:
        """See `MusicModel.stream_audio`."""
        batches = (part.to(self.device)[None] for part in tokens)
        for piece in self.codec.stream(batches, sizes):
            yield piece[0].cpu()
