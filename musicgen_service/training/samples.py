"""Clips that a training makes of what it has learned so far, always with the same seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from musicgen_service import __version__
from musicgen_service.audio import encoding
from musicgen_service.audio.tags import Tags
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models import manifest
from musicgen_service.models.adapters import Adapter, AppliedAdapter
from musicgen_service.models.lora_options import WEIGHTS_FILE
from musicgen_service.training import layout, network
from musicgen_service.training.base import Base
from musicgen_service.training.options import Options

_SEED = 1
_SECONDS = 10.0


class _OneSlot:
    """A `SlotMemory` for one slot, whatever is free: the network that is trained is in memory, too."""

    def reserve(self, _slot_bytes: int, _slots: int) -> int:
        """See `SlotMemory.reserve`."""
        return 1

    def release(self) -> None:
        """See `SlotMemory.release`."""


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
        requests, applied = [self._request(prompt) for prompt in self._prompts], [AppliedAdapter(adapter, 1.0)]
        # On a GPU the matrices with the adapter are copies, for which there is room in the network's place.
        with network.off_device(self._model):
            made = self._base.generate(requests, applied=applied, slots=_OneSlot())
        for file, prompt, tokens in zip(files, self._prompts, made, strict=True):
            samples = np.nan_to_num(base.decode(tokens).float().numpy()).clip(-1, 1)
            encoding.write(samples, base.sample_rate, file, _tags(options.name, prompt, step))

    def _request(self, prompt: str) -> SlotRequest:
        frames = round(min(_SECONDS, self._base.config.window) * self._base.model.frame_rate)
        generator = torch.Generator(self._base.model.device).manual_seed(_SEED)
        return SlotRequest(Condition(prompt), None, frames, Sampling(), generator)
