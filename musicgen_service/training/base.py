"""What a training needs of its base: the loaded checkpoint, its conditions, and the network to train."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from musicgen_service.engine.interface import Condition, OnStep, SlotRequest
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.engine.slot_memory import SlotMemory
from musicgen_service.models import checkpoint_config, loading, state
from musicgen_service.models.adapters import AppliedAdapter, base_name
from musicgen_service.models.checkpoint_config import LanguageModelConfig
from musicgen_service.models.conditioner import Conditioner
from musicgen_service.models.memory import release_memory
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import CheckpointFiles, WeightStore
from musicgen_service.training import network
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.files import cached
from musicgen_service.training.network import Network


@dataclass(frozen=True)
class Base:
    """A base in memory.

    Attributes
    ----------
    files : of the checkpoint
    model : the checkpoint, which encodes songs; `generate` has its tokens made
    stored : its state dict, mapped from the file
    conditioner : of the base
    """

    files: CheckpointFiles
    model: MusicGenModel
    stored: Mapping[str, torch.Tensor]
    conditioner: Conditioner

    @property
    def config(self) -> LanguageModelConfig:
        """Of its language model."""
        return self.model.config

    @property
    def pattern(self) -> DelayPattern:
        """In which its tokens are arranged."""
        return DelayPattern(self.config.delays, self.config.decoder.card)

    def network(self) -> Network:
        """Its decoder as a network to train."""
        device = self.model.device
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        return network.build(base_name(self.model.name), self.config, self.stored, device, dtype)

    def generate(
        self,
        requests: Sequence[SlotRequest],
        on_step: OnStep = lambda _done, _total: None,
        applied: Sequence[AppliedAdapter] = (),
        slots: SlotMemory | None = None,
    ) -> list[torch.Tensor]:
        """Generate tokens, with adapters if there are any; see `MusicModel.generate_tokens`.

        On a GPU a model keeps its slots, and what it has of its own for adapters. That of these tokens is gone when
        they are there: a training needs the memory for its steps.

        Parameters
        ----------
        slots : see `loading.load_model`
        """
        model = loading.load_adapted(self.model, self.files, applied, self.model.label, slots)
        try:
            return model.generate_tokens(requests, on_step)
        finally:
            del model
            release_memory()


def load(store: WeightStore, name: str, device: torch.device) -> Base:
    """Load a base.

    Raises
    ------
    WeightsError
        When it is missing or damaged.
    TrainingError
        When its network is not one of the released ones.
    """
    files = store.checkpoint(name)
    model = loading.load_model(files, device)
    package = state.read_package(files.language_model)
    if model.text_encoder is None or not checkpoint_config.is_supported(checkpoint_config.parse(package["xp.cfg"])):
        raise TrainingError(f"'{name}' cannot be trained: its network is unlike MusicGen's, or MUSICGEN_ENGINE is set.")
    stored = package["best_state"]
    return Base(files, model, stored, Conditioner(model.config, model.tokenizer, model.text_encoder, stored, device))


class Conditions:
    """Rows of conditions for the network, of which each caption's text is computed once.

    Parameters
    ----------
    folder : of what was computed before
    """

    def __init__(self, base: Base, folder: Path) -> None:
        self._base = base
        self._folder = folder
        self._conditioner = base.conditioner
        self._span = base.config.melody_span
        self._texts: dict[str, dict[str, torch.Tensor]] = {}

    def row(self, caption: str, chroma: torch.Tensor | None = None, *, dropped: bool = False) -> torch.Tensor:
        """Return a row float [1, positions, dim].

        Parameters
        ----------
        chroma : float [classes, frames] of a melody, repeated or cut to the length of its prefix; None without one
        dropped : whether it is the row without conditions, which guidance moves away from
        """
        if caption not in self._texts:
            file = self._folder / f"{self._key(caption)}.safetensors"
            stored = cached(file, partial(self._text, caption))
            self._texts[caption] = {name: tensor.to(self._base.model.device) for name, tensor in stored.items()}
        row = self._texts[caption]["dropped" if dropped else "given"]
        if chroma is None or dropped or self._span is None:
            return row
        repeats = -(-self._span.frames // chroma.shape[1])
        fitted = chroma.repeat(1, repeats)[:, : self._span.frames]
        prefix = self._conditioner.tensors(Condition(chroma=fitted)).prefix
        assert prefix is not None, "a model that takes melodies has a prefix"
        return torch.cat([prefix[:1, : self._span.frames], row[:, self._span.frames :]], dim=1)

    def _text(self, caption: str) -> dict[str, torch.Tensor]:
        """The rows with a caption and without one, which are of one length where they precede the clip."""
        tensors = self._conditioner.tensors(Condition(caption))
        if tensors.prefix is not None:
            return {"given": tensors.prefix[:1], "dropped": tensors.prefix[1:]}
        [text] = tensors.texts
        return {"given": text[None], "dropped": torch.zeros_like(text[None, :1])}

    def _key(self, caption: str) -> str:
        """A digest of all that the rows of a caption depend on."""
        model = self._base.files.language_model.stat()
        parts = [caption, self._base.model.name, model.st_size, model.st_mtime_ns]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
