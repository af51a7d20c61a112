"""A clip as it is delivered, and how it becomes a file."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_service.audio import encoding, recipe


@dataclass(frozen=True, eq=False)
class FinishedClip:
    """A clip as it is delivered.

    Attributes
    ----------
    samples : float32 array [channels, samples] within ±1, at its final level
    sample_rate : samples per second
    seed : the one that it was drawn with
    recipe : the inputs that make it again
    number : its place among the variations of its request, from 1
    part : `backing` or `vocals` when it is one part of a remix; empty for the whole
    notes : what had no effect in its request, or was guessed
    """

    samples: np.ndarray
    sample_rate: int
    seed: int
    recipe: dict[str, Any]
    number: int = 1
    part: str = ""
    notes: list[str] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file whose name says the format, with its recipe in the tags; a file there is replaced.

        Parameters
        ----------
        path : ends in .wav, .mp3, .flac or .ogg

        Raises
        ------
        ValueError
            When it ends in anything else.
        EncodingError
            When the disk is full, the folder cannot be written, or the encoder fails.
        """
        target = Path(path).expanduser()
        extension = target.suffix.removeprefix(".")
        if extension not in encoding.FORMATS:
            allowed = ", ".join(f".{name}" for name in encoding.FORMATS)
            raise ValueError(f"The name of a clip's file must end in one of {allowed}, unlike '{target.name}'.")
        tags = recipe.tags({**self.recipe, "output_format": extension})
        encoding.write(self.samples, self.sample_rate, target, tags)
