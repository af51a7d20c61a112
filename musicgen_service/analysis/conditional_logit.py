"""A conditional logit (McFadden, 1974): readings of a recording compete in a softmax.

What competes has features, from which a line and a small hidden layer give its score. demo/fit_metre.py fits weights.
"""

import json
from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

Array = NDArray[np.float64]
MODELS = ("with BeatNet", "without")
"""There are weights for what is heard with BeatNet's networks, and for what is heard without."""


class Weights(NamedTuple):
    """Fitted numbers.

    Attributes
    ----------
    linear : of the features of readings, ``[features]``
    hidden, bias, out : of a hidden layer beside it, ``[features, units]``, ``[units]``, ``[units]``
    no_beat : of the features of recordings
    calibration : slope and offset of the log-odds of probabilities
    """

    linear: Array
    hidden: Array
    bias: Array
    out: Array
    no_beat: Array
    calibration: Array


@cache
def load(name: str) -> dict[str, Weights]:
    """The weights of MODELS in a file, by their names."""
    text = resources.files(__package__).joinpath(name).read_text()
    return {
        model: Weights(**{part: np.array(numbers) for part, numbers in parts.items()})
        for model, parts in json.loads(text).items()
    }


def scores(weights: Weights, evidence: NDArray[np.floating]) -> Array:
    """What readings with ``[readings, features]`` compete with, ``[readings]``."""
    result: Array = evidence @ weights.linear + np.tanh(evidence @ weights.hidden + weights.bias) @ weights.out
    return result


def softmax(weights: Weights, evidence: NDArray[np.floating], features: Array) -> tuple[Array, float]:
    """Probabilities, before calibration, of readings with this evidence, and of "no beat"."""
    every: Array = scipy.special.softmax(np.append(scores(weights, evidence), features @ weights.no_beat))
    return every[:-1], float(every[-1])


def calibrated(weights: Weights, probability: float) -> float:
    """What share of the first of readings with such a probability is right."""
    slope, offset = weights.calibration
    return float(scipy.special.expit(slope * log_odds(np.array(probability)) + offset))


def log_odds(probabilities: Array) -> Array:
    """What calibration starts from."""
    odds: Array = scipy.special.logit(np.clip(probabilities, 1e-6, 1 - 1e-6))
    return odds
