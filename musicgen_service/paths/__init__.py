"""Generation paths: one module per task, and what they share."""

import importlib
from collections.abc import Iterator

from musicgen_service.paths.job import Clip, Job


def generate(job: Job) -> Iterator[Clip]:
    """Generate the clips of a request, at their final level, by the path that `requests.tasks` names for its task."""
    path = importlib.import_module(f"{__name__}.{job.request.spec.path}")
    clips: Iterator[Clip] = path.generate(job)
    return map(job.transcribed, clips) if job.request.return_midi else clips
