"""A finished clip, and writing it to a file."""

import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from musicgen_service import home
from musicgen_service.audio import encoding, recipe
from musicgen_service.audio.music import Music


@dataclass(frozen=True, eq=False)
class FinishedClip:
    """A clip ready for delivery.

    Attributes
    ----------
    samples : float32 array [channels, samples] within ±1, at its final level
    sample_rate : samples per second
    seed : the seed it was sampled with
    recipe : the inputs that reproduce it
    number : its number among the variations of its request, from 1
    part : the name of one of its stems, such as `vocals`; empty for the complete clip
    midi : a MIDI file of what is heard in it, where `return_midi` asked for one
    notes : notes on its request, such as inputs without effect and guesses
    """

    samples: np.ndarray
    sample_rate: int
    seed: int
    recipe: dict[str, Any]
    number: int = 1
    part: str = ""
    midi: bytes | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def music(self) -> Music:
        """What is known of its tempo and key, and of the bars of a loop."""
        return recipe.music(self.recipe)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it to a file in the format of the extension, with its recipe in the tags; replaces an existing file.

        Parameters
        ----------
        path : must end in .wav, .mp3, .flac or .ogg

        Raises
        ------
        ValueError
            When `path` has any other extension.
        EncodingError
            When the disk is full, the folder is not writable, or the encoder fails.
        """
        target = home.expanded(path)
        extension = target.suffix.removeprefix(".")
        if extension not in encoding.FORMATS:
            allowed = ", ".join(f".{name}" for name in encoding.FORMATS)
            raise ValueError(f"The name of a clip's file must end in one of {allowed}, unlike '{target.name}'.")
        contents = recipe.converted(self.recipe, extension)
        bit_depth = contents.get("bit_depth", 16)
        encoding.write(self.samples, self.sample_rate, target, recipe.tags(contents), bit_depth)
