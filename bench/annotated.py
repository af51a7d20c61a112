"""Clips with what is known of them: synthesised songs, grooves, rendered scores, recordings of people."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench import analysis, rendered
from bench.recordings import FOLDER
from bench.rendered.midi import RATE
from demo.grooves import groove
from demo.synth import HELD_BACK, SAMPLE_RATE
from musicgen_service.audio import reading

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Annotated:
    """A clip and its truth; None for what is not known, and 0 or empty for what there is none of.

    Attributes
    ----------
    read : returns its ``[samples]`` and their rate
    group : what it is, for figures by group
    tempo, beats, downbeats, key : see `rendered.Clip`
    chords : (start, end, label)
    """

    name: str
    group: str
    read: Callable[[], tuple[Samples, int]]
    tempo: float | None
    beats: NDArray[np.float64] | None = None
    downbeats: NDArray[np.float64] | None = None
    key: str | None = None
    chords: Sequence[tuple[float, float, str]] | None = None


def synthesised(count: int) -> Iterator[Annotated]:
    """Songs that nothing was fitted to."""
    for number, (song, _) in enumerate(analysis.songs(count, analysis.SECONDS)):
        sound = _of(song.audio, SAMPLE_RATE)
        yield Annotated(str(number), song.style, sound, song.bpm, song.beats, song.downbeats, song.key, song.chords)


def _of(samples: Samples, rate: int) -> Callable[[], tuple[Samples, int]]:
    return lambda: (samples, rate)


def grooves(count: int) -> Iterator[Annotated]:
    """Loops and parts of pieces whose rhythms are drawn (`demo.grooves`), that nothing was fitted to."""
    for number in range(count):
        made = groove(HELD_BACK + number)
        tempo = float(60 / np.median(np.diff(made.beats))) if len(made.beats) > 1 else None
        yield Annotated(str(number), made.metre, _of(made.samples, RATE), tempo, made.beats, made.downbeats)


def rendered_clips(split: str) -> list[Annotated]:
    """Rendered scores of one part."""
    return [_rendered(clip) for clip in rendered.load(split)]


def _rendered(clip: rendered.Clip) -> Annotated:
    def read() -> tuple[Samples, int]:
        audio = clip.audio()
        return audio.mono, audio.rate

    group = f"{clip.kind}, {clip.metre}, {clip.feel or 'no drums'}, {clip.timing}"
    return Annotated(clip.name, group, read, clip.tempo, clip.beats, clip.downbeats, clip.key, clip.chords)


def recordings() -> list[Annotated]:
    """The recordings of people that are shipped with the tests; a tempo of 0 where there is no beat."""
    truths = json.loads((FOLDER / "truth.json").read_text())
    paths = sorted(path for path in FOLDER.iterdir() if path.suffix in (".flac", ".ogg"))
    return [_recording(path.name, truths.get(path.name, {"tempo": None})) for path in paths]


def _recording(name: str, truth: dict[str, Any]) -> Annotated:
    def read() -> tuple[Samples, int]:
        audio = reading.read(FOLDER / name)
        return audio.mono, audio.rate

    tempo = float(truth["tempo"] or 0) if "tempo" in truth else None
    return Annotated(name, "recording", read, tempo, key=truth.get("key"))
