"""Text to music."""

import numpy as np

from musicgen_service.paths import windows
from musicgen_service.paths.job import Job


def generate(job: Job) -> np.ndarray:
    """A clip [channels, samples] of exactly the length asked for, from its description."""
    conditions = job.model.conditions(job.request.description)
    tokens = windows.generate_tokens(job.model, lambda _: conditions, None, job.frames, job.sampling, job.report)
    return job.sound(tokens)[:, : job.samples]
