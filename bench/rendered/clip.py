"""A rendered clip: its sound on disk, and everything that is known of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from demo.synth.song import Chord, Note
from musicgen_service.audio.reading import Audio, read

import numpy as np
from numpy.typing import NDArray

TRAINING, HELD_BACK = "training", "held back"
SPLITS = (TRAINING, HELD_BACK)
SOUND, TRUTH = ".flac", ".json"


@dataclass(frozen=True)
class Clip:
    """What is known of a clip. All times are seconds from its first sample.

    Attributes
    ----------
    name : of its files, without their endings
    kind : one of `arrangement.KINDS`
    split : TRAINING or HELD_BACK; no composer and no pattern of drums or accompaniment is in both
    composer, title : of the score
    metre : as notated, such as "6/8"
    beats_per_bar : 4, 3, 2 (two dotted quarters of 6/8 too), 5 or 7
    tempo : beats per minute, 60 over the median interval of `beats`
    timing : how the tempo moves, one of `performance.TIMINGS`
    feel, figure : names of the patterns of drums and accompaniment; empty without
    sound : what was done to the sound, each step with its amount
    key : such as "A minor"; None where the score does not tell
    beats, downbeats : as notated, whatever the players' deviations; all within the clip
    chords : segments that cover the clip, in mir_eval's notation; "X" where no chord is exact, "N" where nothing tonal
        sounds
    melody, bass : their notes as played, in concert pitch without `detuning`
    detuning : of everything but drums, in semitones
    """

    name: str
    kind: str
    split: str
    composer: str
    title: str
    metre: str
    beats_per_bar: int
    tempo: float
    timing: str
    feel: str
    figure: str
    sound: dict[str, float]
    key: str | None
    beats: NDArray[np.float64]
    downbeats: NDArray[np.float64]
    chords: list[Chord]
    melody: list[Note]
    bass: list[Note]
    detuning: float
    folder: Path

    def audio(self) -> Audio:
        """Read its sound."""
        return read(self.folder / (self.name + SOUND))

    def save(self) -> None:
        """Write what is known beside the sound."""
        values = asdict(self)
        del values["folder"]
        values |= {"beats": self.beats.round(5).tolist(), "downbeats": self.downbeats.round(5).tolist()}
        (self.folder / (self.name + TRUTH)).write_text(json.dumps(values, indent=1))

    @classmethod
    def open(cls, path: Path) -> "Clip":
        """Read what `save` wrote."""
        values: dict[str, Any] = json.loads(path.read_text())
        values |= {name: np.array(values[name], float) for name in ("beats", "downbeats")}
        values |= {"chords": [Chord(*row) for row in values["chords"]]}
        values |= {name: [Note(*row) for row in values[name]] for name in ("melody", "bass")}
        return cls(**values, folder=path.parent)
