"""Text to music."""

from collections.abc import Iterator

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Clips [channels, samples] of exactly the length asked for, from their description."""
    condition = job.condition()
    for clip in job.sounds(lambda _: condition, None, job.frames):
        yield job.normalised(clip.cut(job.samples))
