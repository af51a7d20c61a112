"""Choice of the transcriber of notes: Basic Pitch where its package is installed; without it no notes are heard."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import soxr

from musicgen_service.analysis import note_tracking, pitch, voices
from musicgen_service.analysis.envelopes import RATE, mono
from musicgen_service.analysis.note_tracking import Candidates, NoteActivity
from musicgen_service.analysis.transcription import Transcriber, Transcription
from musicgen_service.models import packaged
from musicgen_service.models.basic_pitch import BasicPitch
from musicgen_service.models.catalogue import BASIC_PITCH
from musicgen_service.models.store import WeightsError
from musicgen_service.notes import noting


def choose() -> Transcriber:
    """The transcriber; one whose weights cannot be used hears nothing, and says why in a note."""
    try:
        [weights] = packaged.files(BASIC_PITCH)
    except WeightsError as error:
        return noting(f"Melody and bass are not transcribed: {error}", _nothing)
    return partial(_transcribe, BasicPitch(weights))


def hear(network: BasicPitch, samples: np.ndarray, rate: int, report: Callable[[float], None]) -> Candidates:
    """All notes that may have been played in ``[channels, samples]`` or ``[samples]``."""
    # The sound, which is large, is kept no longer than the network listens to it.
    return note_tracking.candidates(_activity(network, samples, rate, report))


def _activity(network: BasicPitch, samples: np.ndarray, rate: int, report: Callable[[float], None]) -> NoteActivity:
    audio = mono(samples, rate)
    # The network knows concert pitch alone: what is off it is played faster or slower, as far as it is off.
    speed = 2 ** (pitch.tuning_of(audio, RATE) / 12)
    if speed != 1:
        audio = soxr.resample(audio, RATE, RATE * speed)
    activity = network.hear(audio, report)
    return replace(activity, frame_rate=activity.frame_rate * speed)


def _transcribe(network: BasicPitch, samples: np.ndarray, rate: int, report: Callable[[float], None]) -> Transcription:
    if not samples.any():
        return Transcription([], [])
    return voices.transcribe(hear(network, samples, rate, report))


def _nothing(_samples: np.ndarray, _rate: int, _report: Callable[[float], None]) -> Transcription:
    return Transcription([], [])
