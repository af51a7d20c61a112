"""Continuation of input audio, which is kept unchanged at the start of the clip."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from musicgen_service.audio import loudness
from musicgen_service.notes import note
from musicgen_service.paths import windows
from musicgen_service.paths.job import Clip, Job

_FADE = 0.01
"""Seconds of the crossfade from the input audio to the codec's version of it, just before the new music."""
_COMPARED_SECONDS = 4.0
"""Seconds before the new music over which the levels of the input audio and the codec's version are compared."""
_MAX_GAIN_DB = 12.0
"""Maximum change of the new music's level, in either direction."""


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples]: the input audio, then new music up to the requested length.

    Audio longer than a window is continued from its last seconds.
    """
    model = job.model
    source = job.required_audio().convert(model.sample_rate, model.channels).samples
    source_frames = source.shape[1] // model.hop
    first = source_frames - windows.context_frames(model) if source_frames >= model.window else 0
    condition = job.condition()
    prefix_tokens = None
    if source_frames:
        prefix_tokens = model.encode(torch.from_numpy(source[:, first * model.hop : source_frames * model.hop]))
    else:
        note(f"input_audio is shorter than {model.hop / model.sample_rate:g} s, so the music does not go on from it.")
    offset = first * model.hop
    fade = round(_FADE * model.sample_rate)
    for clip in job.generate_clips(lambda _: condition, prefix_tokens, job.frames - first):
        generated = clip.samples[:, : job.samples - offset]
        known = source[:, offset : source_frames * model.hop]
        generated *= _level_ratio(known, generated[:, : known.shape[1]], model.sample_rate)
        yield job.normalised(replace(clip, samples=_join(source, generated, offset, fade)))


def _join(source: np.ndarray, generated: np.ndarray, offset: int, fade: int) -> np.ndarray:
    """Append the part of `generated` (which starts at sample `offset`) after the end of `source`, crossfaded."""
    end = source.shape[1]
    clip = np.concatenate([source, generated[:, end - offset :]], axis=1)
    fade = min(fade, end - offset)
    if fade > 0:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        overlap = generated[:, end - offset - fade : end - offset]
        clip[:, end - fade : end] = source[:, end - fade :] * (1 - ramp) + overlap * ramp
    return clip


def _level_ratio(source: np.ndarray, decoded: np.ndarray, rate: int) -> np.float32:
    """Return the factor that brings the codec's version of the input audio, and so the new music, to its level.

    A codec may return what it was not trained on several decibels quieter.
    """
    compared = round(_COMPARED_SECONDS * rate)
    levels = [loudness.integrated_loudness(sound[:, -compared:], rate) for sound in (source, decoded) if sound.size]
    if len(levels) < 2 or not np.isfinite(levels).all():
        return np.float32(1.0)
    return np.float32(loudness.amplitude(float(np.clip(levels[0] - levels[1], -_MAX_GAIN_DB, _MAX_GAIN_DB))))
