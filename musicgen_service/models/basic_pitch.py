"""Basic Pitch, a network that hears notes (Bittner et al., ICASSP 2022), run from its ONNX file by onnxruntime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicgen_service.analysis.envelopes import RATE
from musicgen_service.analysis.note_tracking import NoteActivity

HOP = 256
_WINDOW = 43_844  # samples that the network takes at once
_FRAMES = 172  # frames that it gives for them, the first centred on the first sample
_MARGIN = 15  # frames at either end of a window that are dropped: there the network lacks context
_INPUT = "serving_default_input_2:0"
_NOTES, _ONSETS = "StatefulPartitionedCall:1", "StatefulPartitionedCall:2"
_LOWEST = 21  # MIDI number of the first of its 88 pitches


class BasicPitch:
    """The network.

    Parameters
    ----------
    weights : its file, `nmp.onnx`
    """

    def __init__(self, weights: Path) -> None:
        # Imported here: few requests listen to notes.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # More threads are hardly faster, as the layers are small, and would wait for each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def hear(self, samples: NDArray[np.float32], report: Callable[[float], None]) -> NoteActivity:
        """Run the network on ``[samples]`` at RATE, window by window; `report` is called with the share done."""
        frames = -(-len(samples) // HOP)
        onsets, notes = np.zeros((2, frames, 88), np.float32)
        powers = np.zeros(frames, np.float32)
        kept = _FRAMES - 2 * _MARGIN
        for first in range(0, frames, kept):
            last = min(first + kept, frames)
            start = (first - _MARGIN) * HOP
            window = samples[max(0, start) : start + _WINDOW]
            before = max(0, -start)
            window = np.pad(window, (before, _WINDOW - before - len(window)))
            heard = self._session.run([_ONSETS, _NOTES], {_INPUT: window[None, :, None]})
            for kind, values in zip((onsets, notes), heard, strict=True):
                kind[first:last] = values[0, _MARGIN : _MARGIN + last - first]
            powers[first:last] = _powers(window, last - first)
            report(last / frames)
        return NoteActivity(onsets, notes, _levels(powers), RATE / HOP, _LOWEST)


def _powers(window: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """Sums of the squares of the samples from each of a window's frames to the next, after the margin."""
    blocks = window[_MARGIN * HOP : (_MARGIN + frames) * HOP].reshape(frames, HOP)
    sums: NDArray[np.float32] = np.einsum("fs,fs->f", blocks, blocks)
    return sums


def _levels(powers: NDArray[np.float32]) -> NDArray[np.float32]:
    """Levels in dB, relative to the loudest."""
    return 10 * np.log10(np.maximum(powers / max(float(powers.max(initial=0)), 1e-12), 1e-12))
