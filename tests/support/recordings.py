"""Recordings of people (tests/data/real): voices, music without one, and mixes of both whose parts are known."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from musicgen_service.audio.reading import Audio, read

FOLDER = Path(__file__).resolve().parents[1] / "data" / "real"
READERS = ("speech_austen", "speech_ashiel", "speech_perceval")
SINGERS = ("singing_vocadito",)
BACKINGS = (
    *("loop_compus", "loop_drone_g_97", "loop_electric", "loop_garzul", "loop_mehackit1", "loop_perc1"),
    *("loop_safari", "loop_tabla", "sugarplum", "trumpet_90"),
)
"""Music in which nobody sings or speaks."""


@dataclass(frozen=True)
class Mix:
    """A voice over a backing of the same power: float32 arrays [2, samples] at `rate`, and `song`, their sum."""

    voice: np.ndarray
    backing: np.ndarray
    rate: int

    @property
    def song(self) -> Audio:
        return Audio(self.voice + self.backing, self.rate)


def recording(name: str) -> Audio:
    """One of the recordings, by its name without the ending."""
    [path] = FOLDER.glob(f"{name}.*")
    return read(path)


def mix(voice: Audio, backing: Audio, rate: int = 44_100, level: float = 0.1) -> Mix:
    """The voice over the backing, which is repeated or cut to the voice's length; each at an RMS of `level`."""
    above, below = (sound.convert(rate, 2).samples for sound in (voice, backing))
    below = np.tile(below, -(-above.shape[1] // below.shape[1]))[:, : above.shape[1]]
    above, below = (sound * (level / np.sqrt(np.mean(sound**2))) for sound in (above, below))
    return Mix(above, below, rate)


def si_sdr(estimate: np.ndarray, truth: np.ndarray) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., ICASSP 2019), over all channels."""
    found, wanted = estimate.ravel().astype(np.float64), truth.ravel().astype(np.float64)
    target = wanted * (found @ wanted / (wanted @ wanted))
    return float(10 * np.log10(np.sum(target**2) / np.sum((found - target) ** 2)))


def level_db(samples: np.ndarray) -> float:
    """RMS in dB."""
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20))
