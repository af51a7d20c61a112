"""Clips that a training makes of what it has learned so far, always with the same seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from musicgen_service import __version__
from musicgen_service.audio import encoding
from musicgen_service.audio.tags import Tags
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models import loading, manifest
from musicgen_service.models.adapters import Adapter, AppliedAdapter
from musicgen_service.models.lora_options import WEIGHTS_FILE
from musicgen_service.training import layout, network
from musicgen_service.training.base import Base
from musicgen_service.training.options import Options

_SEED = 1
_SECONDS = 10.0


def _tags(name: str, prompt: str, step: int) -> Tags:
    comment = f"adapter '{name}' after {step} steps of its training, seed {_SEED}"
    return Tags(prompt[:100], comment, f"musicgen-service {__version__}")


class Sampler:
    """Makes samples with the engine, as a request would.

    Parameters
    ----------
    folder : of the training
    prompts : what is asked for, at most a few
    """

    def __init__(
        self, base: Base, model: network.PeftModel, options: Options, prompts: Sequence[str], folder: Path
    ) -> None:
        self._base = base
        self._model = model
        self._options = options
        self._prompts = prompts
        self._folder = folder

    def make(self, weights: Mapping[str, torch.Tensor], step: int) -> None:
        """Make the samples of a step that do not exist yet.

        Parameters
        ----------
        weights : of the LoRA
        """
        folder, count = self._folder / layout.SAMPLES, len(self._prompts)
        files = [folder / f"step{step:05}-{number}.wav" for number in range(1, count + 1)]
        if all(file.is_file() for file in files):
            return
        folder.mkdir(exist_ok=True)
        latest = self._folder / "latest"
        latest.mkdir(exist_ok=True)
        network.save(self._model, weights, latest)
        base, options = self._base.model, self._options
        sha256, size = manifest.sha256(latest / WEIGHTS_FILE), (latest / WEIGHTS_FILE).stat().st_size
        adapter = Adapter(options.name, latest, options.base, options.rank, options.alpha, sha256, size)
        model = loading.load_adapted(base, self._base.files, [AppliedAdapter(adapter, 1.0)], options.name)
        frames = round(min(_SECONDS, self._base.config.window) * base.frame_rate)
        for file, prompt in zip(files, self._prompts, strict=True):
            generator = torch.Generator(base.device).manual_seed(_SEED)
            request = SlotRequest(Condition(prompt), None, frames, Sampling(), generator)
            [tokens] = model.generate_tokens([request], lambda _done, _total: None)
            samples = np.nan_to_num(model.decode(tokens).float().numpy()).clip(-1, 1)
            encoding.write(samples, base.sample_rate, file, _tags(options.name, prompt, step))
