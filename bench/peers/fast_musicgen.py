"""The package `fast-musicgen`, whose decoder steps by captured graphs on a GPU; it runs on a CPU as well."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

# The adapter of audiocraft first: it makes torchaudio, which transformers imports, importable with torch for CPUs.
import musicgen_service.models.audiocraft_adapter  # noqa: F401

# isort: split
from bench.peers.stepwise import Stepwise
from musicgen_service.engine.interface import ConditionTensors, OnStep, Sampling
from musicgen_service.engine.pattern import DelayPattern
from musicgen_service.models.checkpoint_config import LanguageModelConfig, parse
from musicgen_service.models.state import read_package
from musicgen_service.models.store import CheckpointFiles

import torch
from fast_musicgen import lm
from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, T5Config

_ROOM = 1500
"""Positions for which it has room by default, and all of which every step reads."""
_PROJECTION = "condition_provider.conditioners.description.output_proj.weight"


class FastMusicgen(Stepwise):
    """A `Peer`: on a GPU its own loop over graphs, on a CPU its decoder in our loop.

    Parameters
    ----------
    files : of a text model
    condition : of every clip; on a GPU its length counts, as graphs are captured for every length up to that
    pattern : see `Stepwise`
    dtype : on a CPU; half on a GPU
    """

    takes_prefix = False

    def __init__(
        self,
        files: CheckpointFiles,
        condition: ConditionTensors,
        pattern: DelayPattern,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        [text] = condition.texts
        self._runner: Any = None
        with _its_folder(files) as (folder, width):
            if device.type == "cuda":
                with patch.object(lm, "tqdm", iter):
                    self._runner = lm.LMRunner(folder, prompt_max_len=len(text), device=str(device))
                # It leaves its own behind.
                torch.set_default_device(None)
                model = self._runner.model
                self._text = torch.randn(1, len(text), width, device=device)
            else:
                model = lm.CausalLM.from_pretrained(folder).to(dtype)
                model.dtype = dtype
                model.set_cache(max_length=_ROOM)
        super().__init__(_Network(model, text), pattern, device)

    def generate(self, prefix: torch.Tensor | None, frames: int, on_step: OnStep) -> torch.Tensor:
        """See `Peer.generate`."""
        if self._runner is None:
            return super().generate(prefix, frames, on_step)
        # It reports its steps to a progress bar alone; and of its steps, the last ones fill up the delayed codebooks.
        steps = frames + self._runner.model.num_codebooks - 1
        with patch.object(lm, "tqdm", partial(_reported, on_step)):
            clips = self._runner.generate_with_cuda_graph(self._text, max_steps=steps, top_k=Sampling().top_k)
        tokens: torch.Tensor = clips[0, 0]
        return tokens


class _Network:
    """A `Network`, which takes one column at a time."""

    def __init__(self, model: Any, text: torch.Tensor) -> None:
        self._model = model
        # Its modules make tensors on the default device.
        with text.device:
            self._text = torch.stack([text, torch.zeros_like(text)]).to(model.dtype)
            self._position = torch.zeros(1, dtype=torch.int64)
            self._is_known = torch.zeros(1, _ROOM, dtype=torch.bool)

    def reset(self) -> None:
        """See `Network.reset`."""
        self._position.zero_()
        self._is_known.zero_()

    @torch.no_grad()
    def __call__(self, columns: torch.Tensor) -> torch.Tensor:
        """See `Network`."""
        with self._text.device:
            for column in columns.unbind(1):
                self._is_known.index_fill_(1, self._position, True)
                logits = self._model(column.expand(2, 1, -1), self._text, self._position, self._is_known)
                self._position += 1
        return logits[:, 0].transpose(1, 2)


def _reported(on_step: OnStep, steps: range) -> Iterator[int]:
    for step in steps:
        yield step
        on_step(step + 1, len(steps))


@contextmanager
def _its_folder(files: CheckpointFiles) -> Iterator[tuple[str, int]]:
    """Make a folder of a checkpoint as the package reads it; yields its path and the width of the text encoder."""
    package = read_package(files.language_model)
    width = package["best_state"][_PROJECTION].shape[1]
    with tempfile.TemporaryDirectory() as folder:
        _config(LanguageModelConfig.read(parse(package["xp.cfg"])), width).save_pretrained(folder)
        (Path(folder) / "state_dict.bin").symlink_to(files.language_model.resolve())
        yield folder, width


def _config(model: LanguageModelConfig, text_width: int) -> MusicgenConfig:
    shape = model.decoder
    decoder: dict[str, Any] = {
        "vocab_size": shape.card,
        "num_hidden_layers": shape.layers,
        "ffn_dim": shape.feedforward,
        "num_attention_heads": shape.heads,
        "hidden_size": shape.dim,
        "num_codebooks": shape.codebooks,
        "pad_token_id": shape.card,
        "bos_token_id": shape.card,
    }
    return MusicgenConfig(
        text_encoder=T5Config(d_model=text_width).to_dict(),
        audio_encoder=EncodecConfig(codebook_size=shape.card, codebook_dim=128).to_dict(),
        decoder=MusicgenDecoderConfig(**decoder).to_dict(),
    )
