"""Choice of the transcriber of notes: Basic Pitch where its package is installed; without it no notes are heard."""

from collections.abc import Callable
from functools import partial

import numpy as np

from musicgen_service.analysis import note_tracking, voices
from musicgen_service.analysis.envelopes import mono
from musicgen_service.analysis.transcription import Transcriber, Transcription
from musicgen_service.models import packaged
from musicgen_service.models.basic_pitch import BasicPitch
from musicgen_service.models.catalogue import BASIC_PITCH
from musicgen_service.models.store import WeightsError
from musicgen_service.notes import note


def choose() -> Transcriber:
    """The transcriber; one whose weights cannot be used hears nothing, and says why in a note."""
    try:
        [weights] = packaged.files(BASIC_PITCH)
    except WeightsError as error:
        return partial(_nothing, f"Melody and bass are not transcribed: {error}")
    return partial(_transcribe, BasicPitch(weights))


def _transcribe(network: BasicPitch, samples: np.ndarray, rate: int, report: Callable[[float], None]) -> Transcription:
    audio = mono(samples, rate)
    if not audio.any():
        return Transcription([], [])
    return voices.transcribe(note_tracking.candidates(network.hear(audio, report)))


def _nothing(reason: str, _samples: np.ndarray, _rate: int, _report: Callable[[float], None]) -> Transcription:
    note(reason)
    return Transcription([], [])
