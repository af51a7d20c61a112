"""Text to music, streamed while it is generated."""

from collections.abc import Iterator

import numpy as np
import torch

from musicgen_service.engine.interface import SlotRequest
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.paths.job import Job
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest


def check(request: GenerationRequest) -> None:
    """Reject requests that cannot be streamed.

    Raises
    ------
    RequestError
        With every reason.
    """
    window = CHECKPOINTS[request.model_version].window
    problems = []
    if request.task != "text":
        problems.append(f"Only task 'text' can be streamed, and task is '{request.task}'.")
    if request.variations > 1:
        problems.append(f"A stream is one clip, and variations is {request.variations}: leave it out.")
    if request.multi_band_diffusion:
        problems.append("multi_band_diffusion decodes a clip as a whole, so it cannot be streamed: leave it out.")
    if request.duration > window:
        problems.append(
            f"A stream is one window of its model, {window:g} s of '{request.model_version}', "
            f"and duration is {request.duration:g} s: shorten it."
        )
    if problems:
        raise RequestError(problems)


def generate(job: Job) -> Iterator[np.ndarray]:
    """Generate the audio of a checked request, not normalised, because the level is known only when it is complete.

    Yields
    ------
    float32 arrays [channels, samples] of one second, the last with the remainder; together they have exactly the
    requested length
    """
    model = job.model
    [seed] = job.seeds
    generator = torch.Generator(model.device).manual_seed(seed)
    request = SlotRequest(job.condition(), None, job.frames, job.sampling, generator)
    remaining = job.samples
    for sound in model.stream(request, model.frame_rate):
        samples = sound.float().cpu().numpy()[:, :remaining]
        remaining -= samples.shape[1]
        yield samples
