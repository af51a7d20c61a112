"""Text and a melody to music: the clip follows the pitch classes of the given audio."""

from collections.abc import Iterator

import torch

from musicgen_service.engine.interface import Condition
from musicgen_service.notes import note
from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Clips [channels, samples] of exactly the length asked for; a shorter melody repeats."""
    model = job.model
    given = job.required_audio()
    heard = (job.analysis.melody(given) if model.separates_melody else given).convert(model.sample_rate, 1)
    if heard.is_silent:
        note("input_audio has no effect: nothing of it is left when its melody is taken out and mixed to one channel.")
    melody = torch.from_numpy(heard.samples)

    def condition_at(frame: int) -> Condition:
        return job.condition(melody=_part(melody, frame, job))

    for clip in job.sounds(condition_at, None, job.frames):
        yield job.normalised(clip.cut(job.samples))


def _part(melody: torch.Tensor, frame: int, job: Job) -> torch.Tensor:
    """What the window that starts at `frame` hears, going round when the melody ends."""
    if job.frames <= job.model.window:
        return melody
    positions = torch.arange(job.model.window * job.model.hop) + frame * job.model.hop
    return melody[:, positions % melody.shape[-1]]
