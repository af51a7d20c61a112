"""What the model is told: the client's texts, with the tempo."""

from collections.abc import Sequence

from musicgen_service.requests import tempo
from musicgen_service.requests.tempo import Tempo


def requested_tempo(prompt: str | None, bpm: float | None) -> float | None:
    """The tempo asked for, in beats per minute: `bpm`, or the only one that the prompt names."""
    named = tempo.read(prompt or "")
    if bpm is None and len(named) == 1 and not named[0].is_range:
        return named[0].low
    return bpm


def described(text: str | None, bpm: float | None) -> str | None:
    """The text given to the model: the client's, with the tempo when it names none or leaves a choice of several."""
    if bpm is None:
        return text
    if text is None:
        return f"{bpm:g} bpm"
    named = tempo.read(text)
    if named and not (is_open(named) and tempo.allows(named, bpm)):
        return text
    return f"{text}, {bpm:g} bpm"


def joined(common: str | None, own: str | None) -> str | None:
    """The text of a whole piece, followed by that of one section."""
    return ", ".join(text for text in (common, own) if text) or None


def is_open(named: Sequence[Tempo]) -> bool:
    """Whether a prompt that names these tempi leaves a choice between several."""
    return len(named) > 1 or any(candidate.is_range for candidate in named)
