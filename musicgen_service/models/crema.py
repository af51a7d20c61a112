"""crema's chord recogniser (McFee & Bello, "Structured training for large-vocabulary chord recognition", ISMIR 2017).

The network is run by numpy as its file of weights describes it: crema's own code needs TensorFlow.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # its parts load when they are first used
from numpy.typing import NDArray

from musicgen_service.analysis import constant_q
from musicgen_service.analysis.chord_labels import LABELS, NO_CHORD, QUALITIES
from musicgen_service.analysis.heard_chords import HeardChords
from musicgen_service.analysis.pitch import NOTE_NAMES

RATE = 44_100
_HOP = 4096
_BINS = 36  # of an octave
_SPECTRUM = 6 * _BINS  # of each of the two spectra that the network takes
_LOWEST = 32.703  # Hz, C1
_BLOCK, _MARGIN = 512, 24  # frames that are transformed at once, and of context on both sides (2.2 s)
_RANGE_DB = 80.0  # below the maximum
_SILENCE = 1e-5  # magnitude below which there are no levels
_PEAK_SHARE, _PEAK_DB = 0.95, 7.5  # where there are pitches, more than 5 % of bins are so far above their surroundings
_EPSILON = 1e-3  # of batch normalisation
_SHARPS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_OUTSIDE = "X"  # its tag for chords that have none

Array = NDArray[np.float32]


class Crema:
    """The network.

    Parameters
    ----------
    weights : its HDF5 file, `crema/models/chord/model.h5`
    """

    def __init__(self, weights: Path) -> None:
        # Imported here: few requests listen to chords.
        import h5py

        with h5py.File(weights) as file:
            layers = file["model_weights"]
            self._layers = {name: _arrays(layers[name][name]) for name in layers if name in layers[name]}
        self._places = _places()

    def hear(self, samples: Array, tuning: float) -> HeardChords:
        """Run the network on ``[samples]`` at RATE, not silent, tuned by `tuning` semitones above concert pitch."""
        spectra = _spectra(samples, tuning)
        states = self._states(spectra)
        pitches = scipy.special.expit(self._dense("chord_pitch", states))
        root, bass = (scipy.special.softmax(self._dense(f"chord_{head}", states), axis=1) for head in ("root", "bass"))
        everything = np.concatenate([states, pitches, root, bass], axis=1)
        tags = scipy.special.softmax(
            self._dense("chord_tag", self._normalised("batch_normalization_5", everything)), axis=1
        )
        probabilities = np.zeros((len(tags), len(LABELS)), np.float32)
        probabilities[:, self._places[self._places >= 0]] = tags[:, self._places >= 0]
        # The network was not trained on noise, and may give it any label.
        is_noise = ~_has_peaks(spectra[..., 0])
        pitches[is_noise] = 0
        probabilities[is_noise] = np.arange(len(LABELS)) == LABELS.index(NO_CHORD)
        return HeardChords(probabilities.T, pitches.T, RATE / _HOP, tuning)

    def _states(self, spectra: Array) -> Array:
        """Compute the recurrent states ``[frames, 256]`` from spectra ``[frames, bins, 2]``."""
        inputs = self._normalised("batch_normalization_1", spectra)
        layer = self._layers["conv2d_1"]
        mixed = sum(
            scipy.ndimage.correlate(inputs[..., channel], layer["kernel"][..., channel, 0], mode="constant")
            for channel in (0, 1)
        )
        smooth = self._normalised("batch_normalization_2", np.maximum(mixed + layer["bias"], 0)[..., None])[..., 0]
        layer = self._layers["conv2d_2"]
        octaves = np.maximum(smooth @ layer["kernel"][0, :, 0] + layer["bias"], 0)
        states = self._recurrent(1, self._normalised("batch_normalization_3", octaves))
        return self._recurrent(2, self._normalised("batch_normalization_4", states))

    def _recurrent(self, number: int, inputs: Array) -> Array:
        """Both directions of a layer of gated recurrent units, ``[frames, 2 * units]``.

        Keras 2's: the reset gate comes before the recurrent product, and the gates' sigmoids are straight lines.
        """
        layer = self._layers[f"bidirectional_{number}"]
        kernels, recurrent, biases = (
            np.stack([layer[f"{way}_gru_{number}/{name}"] for way in ("forward", "backward")])
            for name in ("kernel", "recurrent_kernel", "bias")
        )
        units = recurrent.shape[1]
        gates, candidate = (np.ascontiguousarray(part) for part in np.split(recurrent, [2 * units], axis=2))
        driven = np.stack([inputs, inputs[::-1]]) @ kernels + biases[:, None]
        state: Array = np.zeros((2, 1, units), np.float32)
        states = np.empty((2, len(inputs), units), np.float32)
        for frame in range(len(inputs)):
            drive = driven[:, frame : frame + 1]
            opened: Array = np.clip(0.2 * (drive[..., : 2 * units] + state @ gates) + 0.5, 0, 1)
            update, reset = opened[..., :units], opened[..., units:]
            proposed = np.tanh(drive[..., 2 * units :] + (reset * state) @ candidate)
            state = proposed + update * (state - proposed)
            states[:, frame] = state[:, 0]
        return np.concatenate([states[0], states[1, ::-1]], axis=1)

    def _normalised(self, name: str, values: Array) -> Array:
        layer = self._layers[name]
        scale = layer["gamma"] / np.sqrt(layer["moving_variance"] + _EPSILON)
        result: Array = values * scale + (layer["beta"] - layer["moving_mean"] * scale)
        return result

    def _dense(self, name: str, values: Array) -> Array:
        result: Array = values @ self._layers[name]["kernel"] + self._layers[name]["bias"]
        return result


def _arrays(group: Any) -> Mapping[str, Array]:
    """The arrays in a group of an HDF5 file, by their paths without Keras's ":0"."""
    found: dict[str, Array] = {}

    def keep(path: str, item: Any) -> None:
        if hasattr(item, "shape"):
            found[path.removesuffix(":0")] = item[()]

    group.visititems(keep)
    return found


def _places() -> NDArray[np.int64]:
    """Which of LABELS each of the network's 170 tags is, in their order; -1 for the one that is none of them."""
    names = dict(zip(_SHARPS, NOTE_NAMES, strict=True))
    ours = {f"{sharp}:{quality}": f"{name}:{quality}" for sharp, name in names.items() for quality in QUALITIES}
    tags = sorted([*ours, NO_CHORD, _OUTSIDE])
    return np.array([-1 if tag == _OUTSIDE else LABELS.index(ours.get(tag, tag)) for tag in tags])


def _spectra(samples: Array, tuning: float) -> Array:
    """Levels in decibels below the maximum, ``[frames, bins, 2]``: from C1 up, and from C2 up."""
    frames = 1 + len(samples) // _HOP
    # At full scale, as the decibels end a fixed way under that; block by block, since a long recording is large.
    peak = max(float(samples.max()), -float(samples.min()))
    blocks = []
    for start in range(0, frames, _BLOCK):
        before = min(start, _MARGIN)
        part = samples[(start - before) * _HOP : (start + _BLOCK + _MARGIN) * _HOP] / np.float32(peak)
        lowest = _LOWEST * 2 ** (tuning / 12)
        bins = constant_q.magnitudes(part, RATE, _HOP, lowest, _SPECTRUM // _BINS + 1, _BINS)
        blocks.append(bins[:, before : before + min(_BLOCK, frames - start)].T)
    levels = np.concatenate(blocks)
    channels = [_decibels(levels[:, start : start + _SPECTRUM]) for start in (0, _BINS)]
    return np.stack(channels, axis=-1)


def _decibels(magnitudes: Array) -> Array:
    """Levels relative to the highest one, none of them more than `_RANGE_DB` below it."""
    levels: Array = 20 * np.log10(np.maximum(magnitudes, _SILENCE))
    highest = levels.max()
    return np.maximum(levels - highest, -_RANGE_DB)


def _has_peaks(levels: Array) -> NDArray[np.bool_]:
    """Whether each of ``[frames, bins]`` in decibels has lines that stand out of their surroundings."""
    around = scipy.ndimage.median_filter(levels, (1, _BINS + 1))
    result: NDArray[np.bool_] = np.quantile(levels - around, _PEAK_SHARE, axis=1) > _PEAK_DB
    return result
