"""Splitting a recording into vocals and instruments with Demucs."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from musicgen_service.audio.reading import Audio
from musicgen_service.models import audiocraft_adapter as adapter

_MELODIC = ("vocals", "other")
"""Drums and bass would drown the melody in the pitch classes (as in MusicGen's own training)."""
_VOCALS = "vocals"


def melodic(audio: Audio, separator: Any, device: torch.device) -> Audio:
    """The stems that carry the melody, mixed, at the separator's sample rate."""
    stems = _separate(audio, separator, device)
    return _mixed(stems, _MELODIC, separator.samplerate)


def vocals_and_accompaniment(audio: Audio, separator: Any, device: torch.device) -> tuple[Audio, Audio]:
    """The voice, and everything else, both in stereo at the separator's sample rate."""
    stems = _separate(audio, separator, device)
    rest = [name for name in stems if name != _VOCALS]
    return _mixed(stems, [_VOCALS], separator.samplerate), _mixed(stems, rest, separator.samplerate)


def _separate(audio: Audio, separator: Any, device: torch.device) -> dict[str, torch.Tensor]:
    stereo = audio.convert(separator.samplerate, 2)
    return adapter.separate(separator, torch.from_numpy(stereo.samples), device)


def _mixed(stems: dict[str, torch.Tensor], names: Iterable[str], rate: int) -> Audio:
    mix = torch.stack([stems[name] for name in names]).sum(0).numpy()
    return Audio(np.nan_to_num(mix), rate)
