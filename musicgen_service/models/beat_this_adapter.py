"""The only module that imports beat_this, which finds beats."""

from pathlib import Path

import musicgen_service.models.torchaudio_import  # noqa: F401  (must come before beat_this)

# isort: split
import numpy as np
import torch
from beat_this.inference import Audio2Frames
from beat_this.model.postprocessor import Postprocessor

from musicgen_service.analysis.heard_beats import HeardBeats


def load_beat_tracker(folder: Path, device: torch.device) -> Audio2Frames:
    """Beat This! from a folder with `final0.ckpt`, by its own loader, which restores nothing but tensors and numbers.

    The loader is given an open file: a name that it does not find it would look for on the internet.
    """
    with (folder / "final0.ckpt").open("rb") as checkpoint:
        return Audio2Frames(checkpoint, device)


def find_beats(tracker: Audio2Frames, mono: np.ndarray, rate: int) -> HeardBeats:
    """Where Beat This! hears the beats of float32 samples [samples]; each downbeat is also a beat."""
    beat, downbeat = tracker(mono, rate)
    peaks = Postprocessor()
    beats, downbeats = peaks(beat, downbeat)
    at = torch.from_numpy(np.round(beats * peaks.fps)).long()
    return HeardBeats(beats, downbeats, float(beat.cpu()[at].sigmoid().mean()) if len(beats) else 0.0)
