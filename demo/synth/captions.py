"""Captions: varied descriptions of songs, and parsing of their tempo."""

import re
from dataclasses import dataclass

import numpy as np

from demo.synth.styles import STYLES

INSTRUMENT_WORDS = {
    "piano": ("piano", "keys"),
    "rhodes": ("electric piano", "rhodes"),
    "organ": ("organ",),
    "guitar": ("guitar",),
    "bell": ("bells", "bell"),
    "marimba": ("marimba", "mallets"),
    "synth": ("synth", "synthesizer"),
    "square": ("square lead", "chiptune"),
    "flute": ("flute",),
    "strings": ("strings",),
    "pad": ("pad", "pads"),
}
DRUM_WORDS = {
    "acoustic": ("with drums", "drums", "steady drums"),
    "soft": ("with soft drums", "soft drums", "with drums", "brushed drums"),
    "electronic": ("with drums", "electronic drums", "with beats", "drum machine"),
    "hard": ("with hard drums", "with drums", "hard drums", "pounding beat"),
}
ONLY_DRUMS_WORDS = ("drums only", "just drums", "drum loop", "only drums", "drum beat")
NO_DRUMS_WORDS = ("no drums", "without drums", "drumless", "no percussion")
_TEMPO = re.compile(r"(\d+(?:\.\d+)?) bpm")


@dataclass(frozen=True)
class Facts:
    """The facts that a caption may state about a song."""

    bpm: float
    key: str
    style: str
    lead: str | None
    chords: str
    drums: bool
    beats_per_bar: int


def speed_word(bpm: float) -> str:
    """The common word for a tempo."""
    return "slow" if bpm < 85 else "fast" if bpm >= 135 else "upbeat" if bpm >= 115 else "mid-tempo"


def write(facts: Facts, random: np.random.Generator) -> str:
    """Write a caption: always tempo and drums, mostly key, style and instrument, in varied words and order."""

    def pick(words: tuple[str, ...]) -> str:
        return words[int(random.integers(len(words)))]

    style = STYLES[facts.style]
    tempo = f"{facts.bpm:g} bpm"
    drums = pick(DRUM_WORDS[style.kit]) if facts.drums else pick(NO_DRUMS_WORDS)
    instrument = pick(INSTRUMENT_WORDS[facts.lead or facts.chords])
    subject = []
    if random.random() < 0.2:
        subject.append(speed_word(facts.bpm))
    if random.random() < 0.3:
        subject.append(pick(style.words))
    if random.random() < 0.85:
        subject.append(facts.style)
    if random.random() < 0.8 or not subject:
        subject.append(instrument)
    parts = [f"{' '.join(subject)} {drums}" if drums.startswith("with ") else f"{' '.join(subject)}, {drums}"]
    if random.random() < 0.85:
        parts.append(facts.key.lower())
    if facts.beats_per_bar == 3:
        parts.append(pick(("waltz", "3/4", "in 3/4 time")))
    random.shuffle(parts)
    parts.insert(0 if random.random() < 0.6 else int(random.integers(len(parts) + 1)), tempo)
    return ", ".join(parts)


def write_for_drums(bpm: float, style: str, random: np.random.Generator) -> str:
    """Write a caption for a song's drums alone."""
    words = ONLY_DRUMS_WORDS[int(random.integers(len(ONLY_DRUMS_WORDS)))]
    parts = [f"{style} {words}", f"{bpm:g} bpm"]
    random.shuffle(parts)
    return ", ".join(parts)


def read_tempo(caption: str) -> float | None:
    """Parse the beats per minute in a caption; None if it states no tempo."""
    match = _TEMPO.search(caption)
    return float(match[1]) if match else None


def with_tempo(caption: str, bpm: float) -> str:
    """Replace the tempo of a caption; one without a tempo is unchanged."""
    return _TEMPO.sub(f"{bpm:g} bpm", caption)


def without_tempo(caption: str) -> str:
    """Remove the tempo from a caption."""
    return re.sub(rf"(, )?{_TEMPO.pattern}(, )?", ", ", caption).strip(", ")
