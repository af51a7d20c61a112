"""Who tracks beats: Beat This! where its weights are present, our own tracker elsewhere."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from musicgen_service.analysis import beats, pulse
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.models.catalogue import BEAT_TRACKER
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.progress import log

if TYPE_CHECKING:
    import torch

    from musicgen_service.models.audiocraft_adapter import BeatTracker

Track = Callable[[np.ndarray, int, float | None], BeatGrid]
"""Samples ([channels, samples] or [samples]), their rate, and the tempo asked for if one was, to beats."""
_STEADY = 0.2
"""By which share of the usual one the time between steady beats differs, at most."""


def choose(store: WeightStore, device: "torch.device | str" = "cpu") -> Track:
    """The best tracker that the weights folder allows; weights that cannot be loaded are told in the log."""
    if not store.has(BEAT_TRACKER):
        return beats.track
    # Imported here: they take seconds, and nothing else needs them to read a recording.
    import torch

    from musicgen_service.models import loading

    try:
        tracker = loading.load_beat_tracker(store, torch.device(device))
    except WeightsError as error:
        log(f"beats are tracked without '{BEAT_TRACKER}': {error}")
        return beats.track
    log(f"beats are tracked by '{BEAT_TRACKER}'")
    return lambda samples, rate, tempo: _read(tracker, samples, rate) or beats.track(samples, rate, tempo)


def _read(tracker: "BeatTracker", samples: np.ndarray, rate: int) -> BeatGrid | None:
    """What Beat This! (Foscarin et al., ISMIR 2024) hears; None where that is no grid.

    It hears each beat by itself, to 20 ms. Here each is moved to the line through its neighbours, and one that was not
    heard is filled in, so that beats can be counted.
    """
    from musicgen_service.models import audiocraft_adapter as adapter

    audio = mono(samples, rate)
    if len(audio) < beats.SHORTEST_SECONDS * RATE or not audio.any():
        return None
    found = adapter.find_beats(tracker, audio, RATE)
    if len(found.beats) < beats.ENOUGH or not len(found.downbeats):
        return None
    intervals = np.diff(found.beats)
    period = float(np.median(intervals))
    steady = float((np.abs(intervals / period - 1) < _STEADY).mean())
    number = np.concatenate([[0], np.cumsum(np.round(intervals / period).astype(int))])
    heard, first = np.unique(number, return_index=True)
    grid = pulse.smooth(np.interp(np.arange(number[-1] + 1), heard, found.beats[first]), 1)
    is_downbeat = np.isin(np.arange(len(grid)), number[np.isin(found.beats, found.downbeats)])
    bar = np.median(np.diff(np.flatnonzero(is_downbeat))) if is_downbeat.sum() > 1 else 4
    return BeatGrid(
        tempo=60 / float(np.polyfit(np.arange(len(grid)), grid, 1)[0]),
        beats=np.maximum(grid, 0.0),
        downbeats=np.maximum(grid[is_downbeat], 0.0),
        beats_per_bar=3 if bar % 3 == 0 else 4,
        confidence=found.probability * steady,
    )
