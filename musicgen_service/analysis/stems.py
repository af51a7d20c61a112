"""A recording's melody, vocals and accompaniment, mixed from its separated sources."""

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Protocol

import numpy as np

from musicgen_service.audio.reading import Audio

_MELODIC = ("vocals", "other")
"""Drums and bass would drown the melody in the pitch classes (as in MusicGen's own training)."""
_VOCALS = "vocals"


class Separator(Protocol):
    """A source separator: into `vocals`, `drums`, `bass` and `other`, or `vocals` and `accompaniment`."""

    @property
    def rate(self) -> int:
        """Samples per second that it works at."""
        ...

    def separate(self, samples: np.ndarray, report: Callable[[float], None]) -> Mapping[str, np.ndarray]:
        """Samples float32 [2, samples] at `rate` to its sources by name, each [2, samples].

        `report` is called with the share (0 to 1) of the work that is done.
        """
        ...


def sources(audio: Audio, separator: Separator, report: Callable[[float], None]) -> dict[str, Audio]:
    """Every source by its name, in stereo at the separator's sample rate."""
    stems = _separate(audio, separator, report)
    return {name: _mixed(stems, [name], separator.rate) for name in stems}


def melodic(audio: Audio, separator: Separator) -> Audio:
    """The stems that carry the melody, mixed, at the sample rate of a separator of four sources."""
    return _mixed(_separate(audio, separator, lambda _share: None), _MELODIC, separator.rate)


def vocals_and_accompaniment(
    audio: Audio, separator: Separator, report: Callable[[float], None]
) -> tuple[Audio, Audio]:
    """The voice, and everything else, both in stereo at the separator's sample rate."""
    stems = _separate(audio, separator, report)
    rest = [name for name in stems if name != _VOCALS]
    return _mixed(stems, [_VOCALS], separator.rate), _mixed(stems, rest, separator.rate)


def _separate(audio: Audio, separator: Separator, report: Callable[[float], None]) -> Mapping[str, np.ndarray]:
    return separator.separate(audio.convert(separator.rate, 2).samples, report)


def _mixed(stems: Mapping[str, np.ndarray], names: Iterable[str], rate: int) -> Audio:
    # In place: a song's stems are large.
    return Audio(np.nan_to_num(reduce(np.add, (stems[name] for name in names)), copy=False), rate)
