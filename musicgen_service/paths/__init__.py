"""Generation paths: one module per task, and what they share."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from musicgen_service.paths import finishing, streaming
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.stem_progress import StemProgress


def generate(job: Job) -> Iterator[Clip]:
    """Generate the clips of a request, at their final level, by the path that `requests.tasks` names for its task."""
    if not job.request.separates_clips:
        for clip in _path(job).generate(job):
            yield from finishing.finished(job, clip)
        return
    progress = StemProgress(job.report, len(job.seeds))
    for clip in _path(job).generate(replace(job, report=progress.making)):
        yield from finishing.finished(replace(job, report=progress.separating), clip)
        progress.next_clip()
    job.report(1.0)  # also where a variation failed and is left out


def stream(job: Job) -> Iterator[np.ndarray]:
    """Generate the first clip of a request that can be streamed; see `streaming.stream`."""
    return streaming.stream(job, _path(job).plan(job))


def _path(job: Job) -> Any:
    return importlib.import_module(f"{__name__}.{job.request.spec.path}")
