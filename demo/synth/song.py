"""A synthesised song: audio and its ground truth."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]


class Note(NamedTuple):
    """One note: start and end (seconds) and its MIDI number."""

    start: float
    end: float
    midi: int


class Chord(NamedTuple):
    """One chord: start and end (seconds) and its label in mir_eval's notation ("A:min")."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class Song:
    """A clip of music and its ground truth. All times are seconds from the start of the clip.

    Attributes
    ----------
    audio : float32 ``[samples]``, mono, 32 kHz
    stems : "drums", "bass", "chords", "lead"; they sum to `audio` exactly
    caption : the prompt a person would type to get this song
    bpm : beats per minute
    beats, downbeats : the metrical grid; swing delays the off-beats between beats, never the beats
    chords : one entry a bar, covering the clip
    key : such as "A minor"
    melody : the lead's notes; empty where there is no lead
    beats_per_bar : 4 or 3
    style, lead : names from `demo.synth.styles` and `demo.synth.timbres`; `lead` is None without one
    """

    audio: Audio
    stems: dict[str, Audio]
    caption: str
    bpm: float
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]
    chords: list[Chord]
    key: str
    melody: list[Note]
    beats_per_bar: int
    style: str
    lead: str | None
