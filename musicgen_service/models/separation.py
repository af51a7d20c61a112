"""Demucs as a separator of sources."""

from pathlib import Path

import numpy as np
import torch

from musicgen_service.models import audiocraft_adapter as adapter
from musicgen_service.models import loading


class DemucsSeparator:
    """A `Separator`.

    Parameters
    ----------
    folder : of the component with its weights
    device : where it works

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        self._network = loading.load_separator(folder)
        self._device = device

    @property
    def rate(self) -> int:
        """See `Separator.rate`."""
        return int(self._network.samplerate)

    def separate(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """See `Separator.separate`."""
        stems = adapter.separate(self._network, torch.from_numpy(samples), self._device)
        return {name: stem.numpy() for name, stem in stems.items()}
