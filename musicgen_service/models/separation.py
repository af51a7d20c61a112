"""Demucs as a separator of sources."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from musicgen_service.models import loading


class DemucsSeparator:
    """A `Separator`.

    Parameters
    ----------
    folder : folder of the component, with its weights
    device : device it runs on

    Raises
    ------
    WeightsError
        When the weights are damaged.
    """

    def __init__(self, folder: Path, device: torch.device) -> None:
        # Imported here: it takes a second, and few requests need a separator.
        from musicgen_service.models import demucs_adapter

        self._separate = demucs_adapter.separate
        self._network = loading.load_separator(folder)
        self._device = device

    @property
    def rate(self) -> int:
        """See `Separator.rate`."""
        return int(self._network.samplerate)

    def separate(self, samples: np.ndarray, report: Callable[[float], None]) -> dict[str, np.ndarray]:
        """See `Separator.separate`."""
        stems = self._separate(self._network, torch.from_numpy(samples), self._device)
        report(1.0)
        return {name: stem.numpy() for name, stem in stems.items()}
