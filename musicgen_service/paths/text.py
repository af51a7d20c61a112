"""Text to music."""

from collections.abc import Iterator

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples] of exactly the requested length from their description."""
    condition = job.condition()
    for clip in job.generate_clips(lambda _: condition, None, job.frames):
        yield job.normalised(clip.cut(job.samples))
