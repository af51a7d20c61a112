"""The only module that imports beat_this, the neural beat tracker."""

from pathlib import Path

import musicgen_service.models.torchaudio_import  # noqa: F401  (must come before beat_this)

# isort: split
import numpy as np
import torch
from beat_this.inference import Audio2Frames
from beat_this.model.postprocessor import Postprocessor

from musicgen_service.analysis.detected_beats import DetectedBeats


def load_beat_tracker(folder: Path, device: torch.device) -> Audio2Frames:
    """Load Beat This! from a folder with `final0.ckpt`, with its own loader, which unpickles only tensors and numbers.

    The loader is given an open file: it would look for a path that does not exist on the internet.
    """
    with (folder / "final0.ckpt").open("rb") as checkpoint:
        return Audio2Frames(checkpoint, device)


def find_beats(tracker: Audio2Frames, mono: np.ndarray, rate: int) -> DetectedBeats:
    """Detect the beats of float32 samples [samples] with Beat This!; each downbeat is also a beat."""
    beat_logits, downbeat_logits = tracker(mono, rate)
    postprocessor = Postprocessor()
    beats, downbeats = postprocessor(beat_logits, downbeat_logits)
    frames = torch.from_numpy(np.round(beats * postprocessor.fps)).long()
    probability = float(beat_logits.cpu()[frames].sigmoid().mean()) if len(beats) else 0.0
    return DetectedBeats(beats, downbeats, probability)
