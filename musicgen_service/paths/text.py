"""Text to music."""

from collections.abc import Iterator

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Clips [channels, samples] of exactly the length asked for, from their description."""
    conditions = job.model.conditions(job.request.description)
    for clip in job.sounds(lambda _: conditions, None, job.frames):
        yield clip.cut(job.samples)
