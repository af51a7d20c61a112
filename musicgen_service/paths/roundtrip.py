"""Encode and decode: what the codec makes of given audio."""

from collections.abc import Iterator

import numpy as np
import torch

from musicgen_service.paths.job import Job


def generate(job: Job) -> Iterator[np.ndarray]:
    """Clips [channels, samples] as long as the given audio; they differ only when diffusion decodes them."""
    given = job.required_audio().convert(job.model.sample_rate, job.model.channels).samples
    tokens = job.model.encode(torch.from_numpy(given))
    for done, seed in enumerate(job.seeds, 1):
        yield job.sound(tokens, seed)[:, : given.shape[1]]
        job.report(done / len(job.seeds))
