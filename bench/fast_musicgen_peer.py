"""The PyPI package fast-musicgen with the weights of a checkpoint: a peer on a GPU, by CUDA graphs as well.

It is no requirement; where it is not installed, it is left out.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from musicgen_service.engine.interface import OnStep
from musicgen_service.models.checkpoint_config import LanguageModelConfig, parse
from musicgen_service.models.state import read_package
from musicgen_service.models.store import CheckpointFiles

import torch
from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, T5Config

NAME = "fast-musicgen"


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("fast_musicgen") is not None


class FastMusicgen:
    """Its decoder, which takes one text and always attends to as many positions as its cache has.

    Parameters
    ----------
    files : of a text model
    text_length : positions of the text; it captures a graph for every length up to that
    """

    def __init__(self, files: CheckpointFiles, text_length: int, device: torch.device) -> None:
        from fast_musicgen import lm

        package = read_package(files.language_model)
        width = package["best_state"]["condition_provider.conditioners.description.output_proj.weight"].shape[1]
        with tempfile.TemporaryDirectory() as folder:
            _config(LanguageModelConfig.read(parse(package["xp.cfg"])), width).save_pretrained(folder)
            (Path(folder) / "state_dict.bin").symlink_to(files.language_model.resolve())
            with patch.object(lm, "tqdm", iter):
                self._runner = lm.LMRunner(folder, prompt_max_len=text_length, device=str(device))
        # It leaves its own behind.
        torch.set_default_device(None)
        self._text = torch.randn(1, text_length, width, device=device)

    def generate(self, frames: int, on_step: OnStep) -> None:
        """Generate a number of frames, reporting every step."""
        from fast_musicgen import lm

        with patch.object(lm, "tqdm", partial(_reported, on_step)):
            self._runner.generate_with_cuda_graph(self._text, max_steps=frames + 3, top_k=250)


def _reported(on_step: OnStep, steps: range) -> Iterator[int]:
    for step in steps:
        yield step
        on_step(step + 1, len(steps))


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
