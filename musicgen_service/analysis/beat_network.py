"""Our own networks that hear beats, downbeats and the tempo: temporal convolutional networks, run by numpy.

The dilation doubles from layer to layer (Davies & Böck, EUSIPCO 2019), and the means of all layers over the recording
tell the tempo (Böck, Davies & Knees, ISMIR 2019). demo/fit_beat_network.py fits the weights.
"""

from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import scipy  # submodules are imported on first use
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import FRAME_RATE

LAYERS = 9
_PER_FRAME = 2  # of the frames of `envelopes`
NETWORK_RATE = FRAME_RATE / _PER_FRAME
LOWEST_TEMPO, PER_OCTAVE = 40.0, 16
TEMPI = LOWEST_TEMPO * 2 ** (np.arange(43) / PER_OCTAVE)
"""Beats per minute of the classes of tempo."""
_LOUDNESS, _OTHER = 0.25, 0.25  # scales of inputs

Array = NDArray[np.float32]


class Hearing(NamedTuple):
    """What is heard.

    Attributes
    ----------
    beats : probabilities of a beat, and of a downbeat, ``[2, frames]``, NETWORK_RATE times per second
    tempi : logarithms of the probabilities of TEMPI, ``[tempi]``
    """

    beats: Array
    tempi: Array


def hear(inputs: Array, networks: slice = slice(None)) -> Hearing:
    """Run the networks, and average what they hear.

    Parameters
    ----------
    inputs : ``[features, frames]``; see `inputs`
    networks : which of them, each of which has learned from other recordings
    """
    # One after the other, which takes less memory.
    heard = [_hear(inputs, weights) for weights in _weights()[networks]]
    return Hearing(*(np.mean(parts, axis=0) for parts in zip(*heard, strict=True)))


def _hear(inputs: Array, weights: dict[str, Array]) -> Hearing:
    """Run one network."""
    hidden = _elu(_convolution(inputs, weights["in.weight"], weights["in.bias"], 1))
    pooled = []
    for layer in range(LAYERS):
        name = f"layer.{layer}"
        inner = _elu(_convolution(hidden, weights[f"{name}.weight"], weights[f"{name}.bias"], 2**layer))
        inner = weights[f"{name}.mix.weight"] @ inner + weights[f"{name}.mix.bias"][:, None]
        hidden += inner
        pooled.append(_elu(inner).mean(axis=1))
    scores = weights["out.weight"] @ _elu(hidden) + weights["out.bias"][:, None]
    tempo = _elu(weights["tempo.weight"] @ np.concatenate(pooled) + weights["tempo.bias"])
    tempo = weights["tempo.out.weight"] @ tempo + weights["tempo.out.bias"]
    return Hearing(scipy.special.expit(scores), scipy.special.log_softmax(tempo))


def inputs(loudness: Array, envelopes: NDArray[np.float64], other: NDArray[np.floating]) -> Array:
    """What the network hears of a recording.

    Parameters
    ----------
    loudness, envelopes : see `envelopes`
    other : what another network hears, ``[2, frames]``; zeros where there is none

    Returns
    -------
    ``[features, frames]``, NETWORK_RATE times per second: loudness, its rises, and the largest of the others
    """
    rises = np.zeros_like(loudness)
    np.subtract(loudness[:, 2:], loudness[:, :-2], out=rises[:, 1:-1])
    np.maximum(rises, 0, out=rises)
    parts = (_LOUDNESS * _pairs(loudness).mean(axis=2), _pairs(rises).max(axis=2),
             np.log1p(_pairs(envelopes).max(axis=2)), _OTHER * _pairs(other).max(axis=2))  # fmt: skip
    return np.concatenate(parts).astype(np.float32)


def _pairs(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """``[features, frames]`` to ``[features, frames / 2, 2]``; a last one alone is left out."""
    features, frames = values.shape
    return values[:, : frames // _PER_FRAME * _PER_FRAME].reshape(features, -1, _PER_FRAME)


def _convolution(values: Array, kernels: Array, bias: Array, dilation: int) -> Array:
    """Convolve with zeros beyond the ends.

    Parameters
    ----------
    values : ``[channels, frames]``
    kernels : ``[outputs, channels, taps]``
    bias : ``[outputs]``

    Returns
    -------
    ``[outputs, frames]``
    """
    taps, frames = kernels.shape[-1], values.shape[-1]
    reach = taps // 2 * dilation
    padded = np.pad(values, ((0, 0), (reach, reach)))
    result: Array = np.repeat(bias[:, None], frames, axis=1)
    for tap in range(taps):
        result += np.ascontiguousarray(kernels[..., tap]) @ padded[:, tap * dilation : tap * dilation + frames]
    return result


def _elu(values: Array) -> Array:
    """Exponential linear units."""
    result: Array = np.where(values > 0, values, np.expm1(np.minimum(values, 0)))
    return result


@cache
def _weights() -> list[dict[str, Array]]:
    """The fitted weights of each network."""
    with resources.files(__package__).joinpath("beat_network.npz").open("rb") as file, np.load(file) as arrays:
        every = {name: arrays[name].astype(np.float32) for name in arrays}
    return [{name: values[number] for name, values in every.items()} for number in range(len(every["in.bias"]))]
