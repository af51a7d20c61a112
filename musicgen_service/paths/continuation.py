"""Going on from given audio, which is kept as it is at the start of the clip."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from musicgen_service.notes import note
from musicgen_service.paths import windows
from musicgen_service.paths.job import Clip, Job

_FADE = 0.01
"""Seconds over which the given audio gives way to the codec's version of it, just before the new music."""


def generate(job: Job) -> Iterator[Clip]:
    """Clips [channels, samples]: the given audio, then new music up to the length asked for.

    Audio longer than a window is continued from its last seconds.
    """
    model = job.model
    given = job.required_audio().convert(model.sample_rate, model.channels).samples
    heard = given.shape[1] // model.hop
    first = heard - windows.context_frames(model) if heard >= model.window else 0
    condition = job.condition()
    prompt = None
    if heard:
        prompt = model.encode(torch.from_numpy(given[:, first * model.hop : heard * model.hop]))
    else:
        note(f"input_audio is shorter than {model.hop / model.sample_rate:g} s, so the music does not go on from it.")
    offset = first * model.hop
    fade = round(_FADE * model.sample_rate)
    for clip in job.sounds(lambda _: condition, prompt, job.frames - first):
        made = clip.samples[:, : job.samples - offset]
        yield job.normalised(replace(clip, samples=_joined(given, made, offset, fade)))


def _joined(given: np.ndarray, made: np.ndarray, offset: int, fade: int) -> np.ndarray:
    """`given`, then what `made` (which starts at sample `offset`) has beyond it, without a click."""
    end = given.shape[1]
    clip = np.concatenate([given, made[:, end - offset :]], axis=1)
    fade = min(fade, end - offset)
    if fade > 0:
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        overlap = made[:, end - offset - fade : end - offset]
        clip[:, end - fade : end] = given[:, end - fade :] * (1 - ramp) + overlap * ramp
    return clip
