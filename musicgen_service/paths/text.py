"""Text to music."""

from collections.abc import Iterator

import numpy as np

from musicgen_service.paths.job import Job


def generate(job: Job) -> Iterator[np.ndarray]:
    """Clips [channels, samples] of exactly the length asked for, from their description."""
    conditions = job.model.conditions(job.request.description)
    for sound in job.sounds(lambda _: conditions, None, job.frames):
        yield sound[:, : job.samples]
