"""Transcription: the notes of a recording, and the types that describe them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Note(NamedTuple):
    """One note.

    Attributes
    ----------
    start, end : seconds
    midi : its pitch as a MIDI number, 60 being middle C
    velocity : how loud it is, as MIDI counts it: 1 to 127
    """

    start: float
    end: float
    midi: int
    velocity: int


@dataclass(frozen=True)
class Transcription:
    """The notes of a recording.

    Attributes
    ----------
    melody, bass : those of its leading and its lowest voice, by their start, one at a time
    """

    melody: list[Note]
    bass: list[Note]


class Transcriber(Protocol):
    """Hears the notes of a recording."""

    def __call__(self, samples: np.ndarray, sample_rate: int, report: Callable[[float], None], /) -> Transcription:
        """Samples float32 ``[channels, samples]`` or ``[samples]`` to notes; `report` is called with the share done."""
        ...
