"""Text to music."""

from collections.abc import Iterator

from musicgen_service.paths import sections, streaming
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.streaming import Plan


def plan(job: Job) -> Plan:
    """Plan clips of exactly the requested length from their description."""
    condition = job.condition()
    return Plan(lambda _: condition, None, job.frames, job.cut, sections.wordings(job))


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples]."""
    return streaming.generate(job, plan(job))
