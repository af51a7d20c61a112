"""The trained models that listen to recordings, each loaded when it is first needed."""

import numpy as np
import torch

from musicgen_service.analysis import stems
from musicgen_service.analysis.beats import BeatGrid, BeatTracker
from musicgen_service.audio.reading import Audio
from musicgen_service.models import beat_tracking
from musicgen_service.models.catalogue import SEPARATOR
from musicgen_service.models.separation import DemucsSeparator
from musicgen_service.models.store import WeightStore
from musicgen_service.notes import note


class AnalysisModels:
    """An `AnalysisTools`.

    Parameters
    ----------
    store : has their weights
    device : where they work
    """

    def __init__(self, store: WeightStore, device: torch.device) -> None:
        self._store = store
        self._device = device
        self._separator: DemucsSeparator | None = None
        self._tracker: BeatTracker | None = None

    def melody(self, audio: Audio) -> Audio:
        """See `AnalysisTools.melody`; the recording as it is where there is no separator."""
        if not self._store.has(SEPARATOR):
            note(f"'{SEPARATOR}' is not in the weights folder, so the melody is read from the full mix.")
            return audio
        return stems.melodic(audio, self._loaded_separator())

    def split(self, audio: Audio) -> tuple[Audio, Audio]:
        """See `AnalysisTools.split`."""
        return stems.vocals_and_accompaniment(audio, self._loaded_separator())

    def track(self, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        """See `AnalysisTools.track`."""
        if self._tracker is None:
            self._tracker = beat_tracking.choose(self._store, self._device)
        return self._tracker(samples, rate, tempo)

    def clear(self) -> None:
        """Free them."""
        self._separator = self._tracker = None

    def _loaded_separator(self) -> DemucsSeparator:
        if self._separator is None:
            self._separator = DemucsSeparator(self._store.component(SEPARATOR), self._device)
        return self._separator
