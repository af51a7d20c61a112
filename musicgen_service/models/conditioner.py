"""Conditioners of a language model: from text and melody to tensors."""

import threading
from collections.abc import Mapping

import torch
from torch import nn

from musicgen_service.engine.interface import Condition, ConditionTensors
from musicgen_service.models import state
from musicgen_service.models.checkpoint_config import DESCRIPTION, MELODY, LanguageModelConfig
from musicgen_service.models.chroma import Chroma, ChromaOptions
from musicgen_service.models.layers import Linear
from musicgen_service.models.t5_encoder import T5Encoder
from musicgen_service.models.tokenizer import TextTokenizer

PREFIX = "condition_provider.conditioners."
"""Prefix of the names of the conditioners' tensors in a state dict."""


class Conditioner:
    """The conditioners of a MusicGen checkpoint.

    Parameters
    ----------
    config : of the language model
    tokenizer, text_encoder : of the description
    stored : the state dict of a checkpoint; the tensors whose names begin with `PREFIX` are used
    device : of all tensors

    Raises
    ------
    RuntimeError
        When the tensors do not match the configuration.
    """

    def __init__(
        self,
        config: LanguageModelConfig,
        tokenizer: TextTokenizer,
        text_encoder: T5Encoder,
        stored: Mapping[str, torch.Tensor],
        device: torch.device,
    ) -> None:
        self._tokenizer = tokenizer
        self._text_encoder = text_encoder
        self._has_cross_attention = config.decoder.has_cross_attention
        self._device = device
        self._lock = threading.Lock()
        dim, span = config.decoder.dim, config.melody_span
        self._description = _Projection(text_encoder.width, dim, device)
        self._melody: _MelodyProjection | None = None
        if config.chroma is not None and span is not None:
            self._melody = _MelodyProjection(config.chroma, span.frames, dim, device)
        modules = nn.ModuleDict({DESCRIPTION: self._description})
        if self._melody is not None:
            modules[MELODY] = self._melody
        own = {
            name.removeprefix(PREFIX).replace(".chroma.spec.", ".chroma."): tensor
            for name, tensor in stored.items()
            if name.startswith(PREFIX)
        }
        state.fill(modules, own)

    @torch.no_grad()
    def tensors(self, condition: Condition) -> ConditionTensors:
        """Convert a condition to the float32 tensors that the engine takes; one thread at a time."""
        with self._lock:
            return self._tensors(condition)

    @torch.no_grad()
    def chroma_of(self, melody: torch.Tensor) -> torch.Tensor:
        """Compute the chroma float [classes, frames] of a melody [1, samples], for a model that takes melodies."""
        assert self._melody is not None
        chroma: torch.Tensor = self._melody.chroma(melody[0].to(self._device))
        return chroma.T

    def _tensors(self, condition: Condition) -> ConditionTensors:
        description, lengths = self._descriptions(condition.text, condition.negative_text)
        melody = None if self._melody is None else self._melody.rows(condition)
        prefix = [] if melody is None else [melody]
        if not self._has_cross_attention:
            return ConditionTensors((), torch.cat([*prefix, description], dim=1))
        # Without a negative text, the text of the unconditional row is all zeros and has no effect, so it is left out.
        rows = 1 if condition.negative_text is None else 2
        texts = tuple(text[:length] for text, length in zip(description[:rows], lengths, strict=False))
        return ConditionTensors(texts, melody)

    def _descriptions(self, *texts: str | None) -> tuple[torch.Tensor, list[int]]:
        """Embed texts: float [texts, length, dim], and the length of each; None gives one position of zeros."""
        tokenized = [self._tokenizer.tokens(text or "") for text in texts]
        # Encoded together, as audiocraft does: products with fewer rows round differently.
        tokens = torch.zeros(len(tokenized), max(map(len, tokenized)), dtype=torch.int64)
        is_text = torch.zeros_like(tokens, dtype=torch.bool)
        for row, (text, numbers) in enumerate(zip(texts, tokenized, strict=True)):
            tokens[row, : len(numbers)] = torch.tensor(numbers)
            is_text[row, : len(numbers)] = bool(text)
        tokens, is_text = tokens.to(self._device), is_text.to(self._device)
        embedded: torch.Tensor = self._description.output_proj(self._text_encoder(tokens, is_text))
        return embedded * is_text[..., None], [len(numbers) for numbers in tokenized]


class _Projection(nn.Module):
    """Projection to the width of the language model."""

    def __init__(self, width: int, dim: int, device: torch.device) -> None:
        super().__init__()
        self.output_proj = Linear(width, dim, device=device)


class _MelodyProjection(_Projection):
    """Melodies as a chroma prefix of fixed length; a shorter melody is repeated."""

    def __init__(self, options: ChromaOptions, frames: int, dim: int, device: torch.device) -> None:
        super().__init__(options.classes, dim, device)
        self.chroma = Chroma(options, device)
        self._frames = frames

    def rows(self, condition: Condition) -> torch.Tensor:
        """Embed the melody of a condition, and silence for the unconditional row: [2, frames, dim]."""
        silence = self._fitted_chroma(torch.zeros(1))
        if condition.chroma is not None:
            melody = condition.chroma.T.to(silence)
        else:
            melody = silence if condition.melody is None else self._fitted_chroma(condition.melody[0])
        projected: torch.Tensor = self.output_proj(torch.stack([melody, silence]))
        return projected

    def _fitted_chroma(self, waveform: torch.Tensor) -> torch.Tensor:
        """Compute the chroma float [frames, classes] of a waveform [samples], repeated or cut to the prefix length."""
        chroma: torch.Tensor = self.chroma(waveform.to(self.chroma.window))
        repeats = -(-self._frames // chroma.shape[0])
        return chroma.repeat(repeats, 1)[: self._frames]
