"""The options of trainings that are numbers: their bounds and meanings, for the command and for HTTP."""

from typing import NamedTuple


class Number(NamedTuple):
    """An option that is a number.

    Attributes
    ----------
    kind : int or float
    low, high : bounds, both allowed
    meaning : one clause
    """

    kind: type
    low: float
    high: float
    meaning: str


NUMBERS = {
    "rank": Number(int, 1, 256, "rank of the LoRA: higher learns more and takes more room"),
    "alpha": Number(int, 1, 1024, "scale of the LoRA, over its rank"),
    "steps": Number(int, 1, 100_000, "steps at most; training stops when the held-out loss does"),
    "rate": Number(float, 1e-7, 1.0, "highest learning rate"),
    "batch": Number(int, 1, 64, "clips of a step"),
    "crop": Number(float, 5, 30, "seconds of a clip at most"),
    "dropout": Number(float, 0, 1, "share of clips without a caption; without a trigger"),
    "kept": Number(float, 0, 100, "how much the model is held to what it was where the trigger is not given"),
    "opening": Number(float, 1, 100, "how many times the first second of a clip counts"),
    "disturbed": Number(float, 0, 1, "share of a clip, at most, that is another clip's in what it is predicted from"),
    "gain": Number(float, 0, 12, "also train on each song this many decibels softer and louder"),
    "pitch": Number(int, 0, 2, "also train on each song up to this many semitones lower and higher"),
    "seed": Number(int, 0, 2**32 - 1, "seed of all that is drawn"),
    "patience": Number(int, 1, 1000, "evaluations without a lower held-out loss after which training stops"),
    "every": Number(int, 1, 10_000, "steps between evaluations"),
}
"""The options by their names in `Options`."""
