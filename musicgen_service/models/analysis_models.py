"""Trained models for the analysis of recordings, each loaded on first use."""

from collections.abc import Callable

import numpy as np
import torch

from musicgen_service.analysis import stems
from musicgen_service.analysis.beats import BeatGrid, BeatTracker
from musicgen_service.analysis.chords import ChordRecogniser, Harmony
from musicgen_service.analysis.stems import Separator
from musicgen_service.audio.reading import Audio
from musicgen_service.models import beat_tracking, chord_recognition, separators
from musicgen_service.models.catalogue import HTDEMUCS
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.notes import note


class AnalysisModels:
    """An `AnalysisTools`.

    Parameters
    ----------
    store : source of their weights
    device : device they run on
    """

    def __init__(self, store: WeightStore, device: torch.device) -> None:
        self._store = store
        self._device = device
        self._separator: tuple[str, Separator] | None = None
        self._tracker: BeatTracker | None = None
        self._recogniser: ChordRecogniser | None = None

    def melody(self, audio: Audio) -> Audio:
        """See `AnalysisTools.melody`; the recording as it is where no separator takes drums and bass out of it."""
        if self.separator != HTDEMUCS:
            reason = f"only '{HTDEMUCS}' takes drums and bass out, and it is not in use"
            note(f"The melody is read from the full mix: {reason}.")
            return audio
        return stems.melodic(audio, self._loaded_separator())

    def split(self, audio: Audio, report: Callable[[float], None]) -> tuple[Audio, Audio]:
        """See `AnalysisTools.split`."""
        return stems.vocals_and_accompaniment(audio, self._loaded_separator(), report)

    @property
    def separator(self) -> str | None:
        """The name of the separator; None when there is none."""
        return separators.choose(self._store)

    def track(self, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        """See `AnalysisTools.track`."""
        if self._tracker is None:
            self._tracker = beat_tracking.choose(self._store, self._device)
        return self._tracker(samples, rate, tempo)

    def harmony(self, samples: np.ndarray, rate: int, grid: BeatGrid) -> Harmony:
        """See `AnalysisTools.harmony`."""
        if self._recogniser is None:
            self._recogniser = chord_recognition.choose()
        return self._recogniser(samples, rate, grid)

    def clear(self) -> None:
        """Release all loaded models."""
        self._separator = self._tracker = self._recogniser = None

    def _loaded_separator(self) -> Separator:
        name = self.separator
        if name is None:
            raise WeightsError(f"Recordings are taken apart with {separators.missing()}.")
        # Another one may have been fetched since.
        if self._separator is None or self._separator[0] != name:
            self._separator = name, separators.load(name, self._store, self._device)
        return self._separator[1]
