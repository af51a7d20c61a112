"""Options of a training, with defaults for each base."""

from dataclasses import asdict, dataclass
from typing import Any

TARGETS = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")
"""The matrices of attention and feed-forward that a LoRA may change, in every layer."""


@dataclass(frozen=True)
class Options:
    """Options of a training; with the songs they determine its result.

    Attributes
    ----------
    name : of the adapter
    base : the checkpoint
    trigger : words that ask for what is trained; the model stays as it was without them. None: it always sounds
    caption : of the songs that have no text of their own; None for the names of their files
    as_written : whether captions stay without the tempo, key and metre that are heard
    rank, alpha : of the LoRA
    targets : the matrices that it changes, of `TARGETS`
    steps : at most
    rate : highest learning rate
    batch : clips of a step
    crop : seconds of a clip, at most
    dropout : share of clips without their caption, on which guidance is trained
    kept : weight of the distance from the base where it is to stay as it was; 0 without a trigger
    opening : how many times the first second of a clip counts, which the prompt alone decides
    disturbed : share of a clip that is another clip's in what its frames are predicted from, at most
    gain : decibels by which songs are made softer and louder
    pitch : semitones by which songs are moved up and down
    drop_vocals : whether vocals are taken out of the songs
    seed : of all that is drawn
    patience : evaluations without a lower held-out loss after which training stops
    every : steps between evaluations
    checkpointing : whether activations are computed twice to save memory
    """

    name: str
    base: str
    trigger: str | None = None
    caption: str | None = None
    as_written: bool = False
    rank: int = 16
    alpha: int = 32
    targets: tuple[str, ...] = ("q_proj", "v_proj", "fc1", "fc2")
    steps: int = 400
    rate: float = 2e-4
    batch: int = 2
    crop: float = 30.0
    dropout: float = 0.1
    kept: float = 1.0
    opening: float = 1.0
    disturbed: float = 0.0
    gain: float = 0.0
    pitch: int = 0
    drop_vocals: bool = False
    seed: int = 1
    patience: int = 5
    every: int = 25
    checkpointing: bool = False

    def as_json(self) -> dict[str, Any]:
        """The options in JSON types."""
        return asdict(self) | {"targets": list(self.targets)}


OF_BASES: dict[str, dict[str, Any]] = {
    # A hundredth of the others' size: it learns at a higher rate, from shorter clips. It was trained on disturbed clips
    # whose first second counted five times, too.
    "demo": {"steps": 160, "rate": 4e-3, "crop": 10.0, "kept": 2.0, "opening": 5.0, "disturbed": 1.0},
    "medium": {"checkpointing": True},
    "melody": {"checkpointing": True},
    "large": {"checkpointing": True},
    "melody-large": {"checkpointing": True},
    "stereo-medium": {"checkpointing": True},
    "stereo-melody": {"checkpointing": True},
    "stereo-large": {"checkpointing": True},
    "stereo-melody-large": {"checkpointing": True},
}
"""What differs from the defaults of `Options` for a base."""


def defaults(base: str) -> dict[str, Any]:
    """The defaults of a base by the names of options."""
    own = OF_BASES.get(base, {})
    return {name: own.get(name, field.default) for name, field in Options.__dataclass_fields__.items()}
