"""Which tracker finds beats: Beat This! where its weights are present, our own elsewhere."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_service.analysis import beats, heard_beats
from musicgen_service.analysis.beats import BeatGrid, BeatTracker
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.models.catalogue import BEAT_TRACKER
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.progress import log

if TYPE_CHECKING:
    import torch


def choose(store: WeightStore, device: "torch.device | str" = "cpu") -> BeatTracker:
    """The best tracker that the weights folder allows; the log says why weights that are there are not used."""
    if not store.has(BEAT_TRACKER):
        return beats.track
    # Imported here: they take seconds, and nothing else needs them to read a recording.
    import torch

    from musicgen_service.models import loading

    try:
        network = loading.load_beat_tracker(store.component(BEAT_TRACKER), torch.device(device))
    except WeightsError as error:
        log(f"beats are tracked without '{BEAT_TRACKER}': {error}")
        return beats.track
    log(f"beats are tracked by '{BEAT_TRACKER}'")
    return partial(_track, network)


def _track(network: Any, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
    """What Beat This! hears (Foscarin et al., ISMIR 2024), and our own tracker where that is no grid."""
    from musicgen_service.models import beat_this_adapter

    audio = mono(samples, rate)
    is_heard = len(audio) >= beats.SHORTEST_SECONDS * RATE and bool(audio.any())
    grid = heard_beats.to_grid(beat_this_adapter.find_beats(network, audio, RATE)) if is_heard else None
    return grid or beats.track(samples, rate, tempo)
