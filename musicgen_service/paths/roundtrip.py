"""Encode and decode: what the codec makes of given audio."""

from collections.abc import Iterator

import torch

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Clips [channels, samples] as long as the given audio; they differ only when diffusion decodes them."""
    given = job.required_audio().convert(job.model.sample_rate, job.model.channels).samples
    tokens = job.model.encode(torch.from_numpy(given))
    for number, seed in enumerate(job.seeds, 1):
        yield job.normalised(Clip(job.sound(tokens, seed), seed, number).cut(given.shape[1]))
        job.report(number / len(job.seeds))
