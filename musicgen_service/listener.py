"""Whoever hears a clip while it is made."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Sound:
    """What will be heard.

    Attributes
    ----------
    samples : its length
    sample_rate : samples per second
    channels : 1 or 2
    output_format : that of the finished file
    real_time_factor : seconds of music that are generated in a second, as measured so far; None where that is unknown
    """

    samples: int
    sample_rate: int
    channels: int
    output_format: str
    real_time_factor: float | None


class Listener(Protocol):
    """Hears the first clip of a request while it is made."""

    @property
    def is_listening(self) -> bool:
        """Whether anybody has asked to hear it; pieces cost time, so none are made before."""
        ...

    def refuse(self, reason: str) -> None:
        """Learn from a sentence why nothing will be heard.

        Raises
        ------
        RequestError
            When the request is pointless then.
        """
        ...

    def start(self, sound: Sound) -> None:
        """Learn what will be heard."""
        ...

    def hear(self, piece: np.ndarray) -> None:
        """Hear the next piece, float32 [channels, samples]."""
        ...

    def end(self) -> None:
        """Learn that the clip is complete."""
        ...
