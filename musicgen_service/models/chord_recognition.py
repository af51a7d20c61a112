"""Which chord recogniser is used: crema's network where its package is installed, our own elsewhere."""

from functools import partial

import numpy as np
import soxr
from numpy.typing import NDArray

from musicgen_service.analysis import chords, heard_chords, pitch
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordRecogniser, Harmony
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.models import crema, packaged
from musicgen_service.models.catalogue import CREMA
from musicgen_service.models.crema import Crema
from musicgen_service.models.store import WeightsError
from musicgen_service.notes import noting


def choose() -> ChordRecogniser:
    """The best recogniser available; our own says in a note why it is used."""
    try:
        [weights] = packaged.files(CREMA)
    except WeightsError as error:
        return noting(f"Chords are recognised as major and minor ones only: {error}", chords.recognise)
    return partial(_recognise, Crema(weights))


def _recognise(network: Crema, samples: np.ndarray, rate: int, grid: BeatGrid) -> Harmony:
    """Run crema's network, and decode its output as `heard_chords` does."""
    audio = mono(samples, rate)
    nothing = chords.trivial_harmony(audio)
    if nothing is not None:
        return nothing
    tuning = pitch.tuning_of(audio, RATE)
    heard = network.hear(_one_channel(samples, rate), tuning)
    return heard_chords.to_harmony(heard, audio, grid)


def _one_channel(samples: np.ndarray, rate: int) -> NDArray[np.float32]:
    """One channel at the network's rate; not copied where it is that already, as a long recording is large."""
    mixed: NDArray[np.float32] = samples if samples.ndim == 1 else samples.mean(axis=0, dtype=np.float32)
    return mixed if rate == crema.RATE else soxr.resample(mixed, rate, crema.RATE)
