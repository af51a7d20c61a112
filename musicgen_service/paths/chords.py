"""Text and chords to music: a clip on the chords of a text, bar by bar, or on those of a recording."""

from collections.abc import Iterator

from musicgen_service.paths import progressions, sections, streaming
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.streaming import Plan


def plan(job: Job) -> Plan:
    """Plan clips of exactly the requested length."""
    job, timeline = progressions.requested(job)
    assert timeline is not None, "the request was checked to have chords"
    condition_at = progressions.condition_at(job, timeline)
    asked = timeline(0.0, job.request.duration)
    return Plan(condition_at, None, job.frames, job.cut, sections.wordings(job), asked)


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples]."""
    return streaming.generate(job, plan(job))
