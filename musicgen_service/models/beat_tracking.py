"""Choice of the beat tracker: Beat This! when its weights are present, otherwise our own, which BeatNet's helps."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from musicgen_service.analysis import beats, detected_beats
from musicgen_service.analysis.beats import BeatGrid, BeatTracker
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.models import packaged
from musicgen_service.models.beatnet import BeatNet
from musicgen_service.models.catalogue import BEAT_TRACKER, BEATNET
from musicgen_service.models.store import WeightsError, WeightStore
from musicgen_service.notes import noting
from musicgen_service.progress import log

if TYPE_CHECKING:
    import torch


def choose(store: WeightStore, device: "torch.device | str" = "cpu") -> BeatTracker:
    """The best tracker available; one in the place of a better one says so in a note."""
    own = _own()
    if not store.has(BEAT_TRACKER):
        return own
    # Imported here: they take seconds to import, and our own tracker does not need them.
    import torch

    from musicgen_service.models import loading

    try:
        network = loading.load_beat_tracker(store.component(BEAT_TRACKER), torch.device(device))
    except WeightsError as error:
        return noting(f"Beats are tracked by our own tracker: {error}", own)
    log(f"beats are tracked by '{BEAT_TRACKER}'")
    return partial(_track, network, own)


def size(store: WeightStore) -> int:
    """The bytes of the weights of Beat This!; BeatNet's, five megabytes, are not counted."""
    files = store.component(BEAT_TRACKER).iterdir() if store.has(BEAT_TRACKER) else ()
    return sum(file.stat().st_size for file in files)


def _own() -> BeatTracker:
    """Our own tracker, with BeatNet's networks where their package is installed."""
    try:
        network = BeatNet(packaged.files(BEATNET))
    except WeightsError as error:
        return noting(f"Beats are tracked without BeatNet's networks: {error}", beats.track)
    return partial(beats.track, network=network.hear)


def _track(network: Any, own: BeatTracker, samples: np.ndarray, rate: int, tempo: float | None) -> BeatGrid:
    """Track with Beat This! (Foscarin et al., ISMIR 2024), or with our own tracker where that gives no grid."""
    from musicgen_service.models import beat_this_adapter

    audio = mono(samples, rate)
    has_sound = len(audio) >= beats.MIN_SECONDS * RATE and bool(audio.any())
    grid = detected_beats.to_grid(beat_this_adapter.find_beats(network, audio, RATE), tempo) if has_sound else None
    if grid is None:
        return own(samples, rate, tempo)
    found, downbeats = (beats.sounding(audio, times) for times in (grid.beats, grid.downbeats))
    return replace(grid, beats=found, downbeats=downbeats)
