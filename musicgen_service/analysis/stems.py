"""Splitting a recording into vocals and instruments with Demucs."""

from typing import Any

import torch

from musicgen_service.audio.reading import Audio
from musicgen_service.models import audiocraft_door as door

_MELODIC = ("vocals", "other")
"""Drums and bass would drown the melody in the pitch classes (as in MusicGen's own training)."""


def melodic(audio: Audio, separator: Any, device: torch.device) -> Audio:
    """The stems that carry the melody, mixed, at the separator's sample rate."""
    stereo = audio.convert(separator.samplerate, 2)
    stems = door.separate(separator, torch.from_numpy(stereo.samples), device)
    return Audio(torch.stack([stems[name] for name in _MELODIC]).sum(0).numpy(), separator.samplerate)
