"""What is known of a clip's music: tempo, key, and the bars of a loop."""

from dataclasses import asdict, dataclass
from typing import Any

_NATURAL = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTAL = {"": 0, "#": 1, "b": -1}


@dataclass(frozen=True)
class Music:
    """Facts that files of a clip tell.

    Attributes
    ----------
    tempo : beats per minute, or None
    key : such as "F# minor", or None
    beats : of a clip that is a loop, which has whole beats; 0 for any other
    beats_per_bar : of a loop
    """

    tempo: float | None = None
    key: str | None = None
    beats: int = 0
    beats_per_bar: int = 4

    @property
    def facts(self) -> dict[str, Any]:
        """What is known, by attribute, in JSON types."""
        known = {name: value for name, value in asdict(self).items() if value}
        if not self.beats:
            del known["beats_per_bar"]
        return known


def key_symbol(key: str) -> str:
    """A key in three characters at most, as ID3 has it: "F#m" for "F# minor", "Eb" for "Eb major"."""
    tonic, mode = key.split()
    return tonic + ("m" if mode == "minor" else "")


def pitch_class(key: str) -> int:
    """The tonic of a key, in semitones above C: 6 for "F# minor"."""
    tonic = key.split()[0]
    return (_NATURAL[tonic[0]] + _ACCIDENTAL[tonic[1:]]) % 12
