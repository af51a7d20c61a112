"""Trained models for the analysis of recordings, each loaded on first use."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch

from musicgen_service.analysis import stems
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import Harmony
from musicgen_service.analysis.stems import Separator
from musicgen_service.analysis.transcription import Transcription
from musicgen_service.audio.reading import Audio
from musicgen_service.models import beat_tracking, chord_recognition, packaged, separators, transcription
from musicgen_service.models.cache import ModelCache
from musicgen_service.models.catalogue import BASIC_PITCH, CREMA, HTDEMUCS
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.notes import note
from musicgen_service.threads import CancellableLock

_T = TypeVar("_T")


class AnalysisModels:
    """An `AnalysisTools` for any number of threads; one recording is analysed at a time.

    Parameters
    ----------
    store : source of their weights
    device : device they run on
    models : keeps them in memory
    """

    def __init__(self, store: WeightStore, device: torch.device, models: ModelCache) -> None:
        self._store = store
        self._device = device
        self._models = models
        # These networks take memory that no budget counts, and use every processor.
        self._lock = CancellableLock()

    def melody(self, audio: Audio) -> Audio:
        """See `AnalysisTools.melody`; the recording as it is where no separator takes drums and bass out of it."""
        if self.separator != HTDEMUCS:
            reason = f"only '{HTDEMUCS}' takes drums and bass out, and it is not in use"
            note(f"The melody is read from the full mix: {reason}.")
            return audio
        with self._loaded_separator() as separator:
            return stems.melodic(audio, separator)

    def split(self, audio: Audio, report: Callable[[float], None]) -> tuple[Audio, Audio]:
        """See `AnalysisTools.split`."""
        with self._loaded_separator() as separator:
            return stems.vocals_and_accompaniment(audio, separator, report)

    def sources(self, audio: Audio, report: Callable[[float], None]) -> dict[str, Audio]:
        """See `AnalysisTools.sources`."""
        with self._loaded_separator() as separator:
            return stems.sources(audio, separator, report)

    @property
    def separator(self) -> str | None:
        """The name of the separator; None when there is none."""
        return separators.choose(self._store)

    def track(self, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
        """See `AnalysisTools.track`."""
        size = beat_tracking.size(self._store)
        with self._loaded("beat tracker", size, lambda: beat_tracking.choose(self._store, self._device)) as tracker:
            return tracker(samples, rate, tempo)

    def harmony(self, samples: np.ndarray, rate: int, grid: BeatGrid) -> Harmony:
        """See `AnalysisTools.harmony`."""
        with self._loaded("chord recogniser", packaged.size(CREMA), chord_recognition.choose) as recognise:
            return recognise(samples, rate, grid)

    def transcribe(self, samples: np.ndarray, rate: int) -> Transcription:
        """See `AnalysisTools.transcribe`."""
        with self._loaded("transcriber", packaged.size(BASIC_PITCH), transcription.choose) as transcribe:
            return transcribe(samples, rate, lambda _share: None)

    @contextmanager
    def _loaded_separator(self) -> Iterator[Separator]:
        name = self.separator
        if name is None:
            raise WeightsError(f"Recordings are taken apart with {separators.missing()}.")
        size = separators.size(name, self._store)
        with self._loaded(name, size, lambda: separators.load(name, self._store, self._device)) as separator:
            yield separator

    @contextmanager
    def _loaded(self, name: str, size: int, load: Callable[[], _T]) -> Iterator[_T]:
        with self._lock, self._models.lease_part(name, size, load) as model:
            yield model
