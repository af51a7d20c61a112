"""Roundtrip: encodes the input audio and decodes it again."""

from collections.abc import Iterator

import torch

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples] as long as the input audio; they differ only when diffusion decodes them."""
    source = job.required_audio().convert(job.model.sample_rate, job.model.channels).samples
    tokens = job.model.encode(torch.from_numpy(source))
    for number, seed in enumerate(job.seeds, 1):
        yield job.normalised(Clip(job.decode_tokens(tokens, seed), seed, number).cut(source.shape[1]))
        job.report(number / len(job.seeds))
