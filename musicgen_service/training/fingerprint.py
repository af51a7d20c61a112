"""How a song sounds, coarsely: the same for copies in other lossless formats, at other levels and with other tags."""

import numpy as np

from musicgen_service.audio.reading import Audio

_PARTS = 32
"""Parts of a song, of one length."""
_RATE, _FRAME = 16_000, 2048
_EDGES = np.searchsorted(np.fft.rfftfreq(_FRAME, 1 / _RATE), np.geomspace(60.0, 6000.0, 13))
"""The first lines of twelve bands, within what every format keeps, and the end of the last."""
_FLOOR = 50.0
"""Decibels below the loudest band of the loudest part that count as nothing."""
_MAX_DIFFERENCE = 0.05
"""Decibels, in the mean, by which copies differ at most. Other formats, rates and levels change up to 0.01, lossy ones
0.1 to 0.6; a song with another bass differs by 0.2 or more from the same without it, which is no copy."""
_MAX_SECONDS = 0.1
"""By which the length of a copy differs at most."""


class Fingerprint:
    """How a song sounds.

    Parameters
    ----------
    audio : at least a few seconds
    """

    def __init__(self, audio: Audio) -> None:
        self._seconds = audio.seconds
        mono = audio.convert(_RATE, 1).samples[0]
        frames = mono[: mono.size // _FRAME * _FRAME].reshape(-1, _FRAME) * np.hanning(_FRAME).astype(np.float32)
        power = np.square(np.abs(np.fft.rfft(frames)))
        bands = np.add.reduceat(power[:, : _EDGES[-1]], _EDGES[:-1], axis=1)
        parts = np.stack([part.mean(0) for part in np.array_split(bands, _PARTS)])
        decibels = 10 * np.log10(np.maximum(parts, 1e-20))
        self._decibels = np.maximum(decibels - decibels.max(), -_FLOOR)

    def is_like(self, other: "Fingerprint") -> bool:
        """Whether two songs are copies of one."""
        if abs(self._seconds - other._seconds) > _MAX_SECONDS:
            return False
        return float(np.abs(self._decibels - other._decibels).mean()) <= _MAX_DIFFERENCE
