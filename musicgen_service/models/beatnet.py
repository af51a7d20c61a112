"""BeatNet's network (Heydari, Cwitkowitz & Duan, ISMIR 2021), which hears where beats and downbeats are.

The network is run by numpy. The three sets of weights come from training on different collections of music, and their
outputs are averaged.
"""

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import scipy  # its parts load when they are first used
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import RATE

HOP = 441  # samples
FRAME_RATE = RATE / HOP
_WINDOW = 1411  # samples
_PER_OCTAVE, _LOWEST, _HIGHEST, _REFERENCE = 24, 30.0, 17_000.0, 440.0  # of the filters, and Hz
_FEATURES, _UNITS, _KERNEL = 272, 150, 10
_CHUNK, _WARM_UP = 1500, 500  # frames heard at once (30 s), after so many whose output is not used
_TOGETHER = 16  # chunks that run side by side
_BLOCK = 100  # frames that pass through a layer before the next one

Array = NDArray[np.float32]


class BeatNet:
    """The network.

    Parameters
    ----------
    weights : its files, `BeatNet/models/model_?_weights.pt`
    """

    def __init__(self, weights: Sequence[Path]) -> None:
        networks = [_read(path) for path in weights]
        self._layers = {name: np.stack([network[name] for network in networks]) for name in networks[0]}
        self._filters = _filters()
        self._window = np.hanning(_WINDOW).astype(np.float32)

    def hear(self, samples: Array) -> Array:
        """Probabilities of a beat that is no downbeat, and of a downbeat, 50 times per second.

        Parameters
        ----------
        samples : ``[samples]`` at RATE, peak 1

        Returns
        -------
        ``[2, frames]``, frame i at i / FRAME_RATE seconds
        """
        frames = -(-len(samples) // HOP)
        # The network is causal: each chunk is heard from some seconds before it.
        chunks = [(max(0, start - _WARM_UP), start) for start in range(0, frames, _CHUNK)]
        parts = []
        for at in range(0, len(chunks), _TOGETHER):
            group = chunks[at : at + _TOGETHER]
            length = max(start - first for first, start in group) + min(_CHUNK, frames)
            heard = self._run(
                np.stack([self._features(_framed(samples, first, length + 1), first) for first, _ in group])
            )
            parts += [run[:, start - first :][:, :_CHUNK] for (first, start), run in zip(group, heard, strict=True)]
        return np.concatenate(parts, axis=1)[:, :frames]

    def _features(self, framed: Array, first: int) -> Array:
        """Logarithmic magnitudes of all ``[frames, window]`` but the first, and their rises, ``[frames - 1, 272]``."""
        spectrum = scipy.fft.rfft(framed * self._window)[:, : _WINDOW // 2]
        levels = np.log10(1 + np.abs(spectrum) @ self._filters)
        if first == 0:
            levels[0] = levels[1]  # nothing rises at the beginning
        return np.concatenate([levels[1:], np.maximum(np.diff(levels, axis=0), 0)], axis=1)

    def _run(self, features: Array) -> Array:
        """``[sequences, frames, 272]`` to probabilities ``[sequences, 2, frames]``."""
        sequences, frames = features.shape[:2]
        layers = self._layers
        states = [np.zeros((2, len(layers["out.bias"]), sequences, _UNITS), np.float32) for _ in (0, 1)]
        results = np.empty((sequences, 2, frames), np.float32)
        for start in range(0, frames, _BLOCK):
            # ``[networks, frames * sequences, units]`` from here on: products of large matrices are fast.
            block = features[:, start : start + _BLOCK].swapaxes(0, 1).reshape(-1, _FEATURES)
            pooled = np.maximum(block @ layers["even"], block @ layers["odd"])
            hidden = np.maximum(pooled + layers["conv.bias"], 0) @ layers["in.weight"] + layers["in.bias"]
            for layer, state in enumerate(states):
                driven = hidden @ layers[f"input.{layer}"] + layers[f"bias.{layer}"]
                hidden = _recurrent(driven, layers[f"recurrent.{layer}"], state)
            scores = hidden @ layers["out.weight"] + layers["out.bias"]
            probabilities = scipy.special.softmax(scores, axis=-1)[..., :2].mean(axis=0)
            results[:, :, start : start + _BLOCK] = probabilities.reshape(-1, sequences, 2).transpose(1, 2, 0)
        return results


def _framed(samples: Array, first: int, count: int) -> Array:
    """Windows of ``[samples]``, ``[count, window]``: frame 0 is centred at a hop before the beginning.

    Only of these frames: a long recording, once more with silence around it, is large.
    """
    start = (first - 1) * HOP - _WINDOW // 2
    end = start + (count - 1) * HOP + _WINDOW
    heard = samples[max(0, start) : max(0, end)]
    before = max(0, -start)
    return sliding_window_view(np.pad(heard, (before, end - start - before - len(heard))), _WINDOW)[::HOP]


def _recurrent(driven: Array, weight: Array, state: Array) -> Array:
    """Run a layer of long short-term memory.

    Parameters
    ----------
    driven : the gates' inputs, ``[networks, frames * sequences, 4 * units]``
    weight : of the previous output, ``[networks, units, 4 * units]``
    state : output and memory, ``[2, networks, sequences, units]``, which are overwritten

    Returns
    -------
    ``[networks, frames * sequences, units]``
    """
    outputs = np.empty((*driven.shape[:-1], _UNITS), np.float32)
    output, memory = state
    sequences = output.shape[1]
    for start in range(0, driven.shape[1], sequences):
        gates = driven[:, start : start + sequences] + output @ weight
        proposed = np.tanh(gates[..., 2 * _UNITS : 3 * _UNITS])
        opened = 0.5 + 0.5 * np.tanh(0.5 * gates)  # the logistic function; of input, memory, and output
        memory = opened[..., _UNITS : 2 * _UNITS] * memory + opened[..., :_UNITS] * proposed
        output = opened[..., 3 * _UNITS :] * np.tanh(memory)
        outputs[:, start : start + sequences] = output
    state[:] = output, memory
    return outputs


def _read(path: Path) -> dict[str, Array]:
    """The tensors in a file of weights.

    Where each one lies is known, since the file is known by its checksum: nothing has to be unpickled.
    """
    with ZipFile(path) as file:
        stored = [np.frombuffer(file.read(f"archive/data/{number}"), np.float32) for number in range(7)]
    square = 4 * _UNITS * _UNITS
    matrices = stored[4][: 4 * square].reshape(4, 4 * _UNITS, _UNITS).swapaxes(1, 2).copy()
    biases = stored[4][4 * square :].reshape(4, 1, 4 * _UNITS)
    even, odd = _convolution(stored[0].reshape(2, _KERNEL))
    return {
        "even": even,
        "odd": odd,
        "conv.bias": np.repeat(stored[1], even.shape[1] // 2)[None],
        "in.weight": stored[2].reshape(_UNITS, -1).T,
        "in.bias": stored[3][None],
        "input.0": matrices[0],
        "recurrent.0": matrices[1],
        "input.1": matrices[2],
        "recurrent.1": matrices[3],
        "bias.0": biases[0] + biases[1],
        "bias.1": biases[2] + biases[3],
        "out.weight": stored[5].reshape(3, _UNITS).T,
        "out.bias": stored[6][None],
    }


def _convolution(kernels: Array) -> Array:
    """The convolution as products with two matrices, of whose results pooling takes the larger one.

    ``[channels, taps]`` to ``[2, features, channels * places]``: at even places, and at odd ones.
    """
    places = (_FEATURES - _KERNEL + 1) // 2
    matrices = np.zeros((2, _FEATURES, len(kernels), places), np.float32)
    for place in range(places):
        for odd in (0, 1):
            start = 2 * place + odd
            matrices[odd, start : start + _KERNEL, :, place] = kernels.T
    return matrices.reshape(2, _FEATURES, -1)


def _filters() -> Array:
    """Triangular filters of sum 1, 24 to an octave, ``[bins, 136]``, each from the last one's peak to the next's."""
    steps = np.arange(
        np.ceil(_PER_OCTAVE * np.log2(_LOWEST / _REFERENCE)),
        np.floor(_PER_OCTAVE * np.log2(_HIGHEST / _REFERENCE)) + 1,
    )
    bins = _WINDOW // 2
    places = _REFERENCE * 2 ** (steps / _PER_OCTAVE) * 2 * bins / RATE
    # Low frequencies share bins: there are fewer filters than steps.
    corners = np.unique(np.clip(np.round(places), 0, bins - 1)).astype(int)
    filters = np.zeros((bins, len(corners) - 2), np.float32)
    for number, (start, centre, stop) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        filters[start:centre, number] = np.linspace(0, 1, centre - start, endpoint=False)
        filters[centre:stop, number] = np.linspace(1, 0, stop - centre, endpoint=False)
    return filters / filters.sum(axis=0)
