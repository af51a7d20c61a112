"""Encode and decode: what the codec makes of given audio."""

import numpy as np
import torch

from musicgen_service.paths.job import Job


def generate(job: Job) -> np.ndarray:
    """A clip [channels, samples] as long as the given audio."""
    given = job.required_audio().convert(job.model.sample_rate, job.model.channels).samples
    tokens = job.model.encode(torch.from_numpy(given))
    job.report(0.5)
    return job.sound(tokens)[:, : given.shape[1]]
