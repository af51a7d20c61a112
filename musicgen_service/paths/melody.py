"""Text and a melody to music: the clip follows the pitch classes of the input audio."""

from collections.abc import Iterator

import torch

from musicgen_service.engine.interface import Condition
from musicgen_service.notes import note
from musicgen_service.paths import sections, streaming
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.streaming import Plan


def plan(job: Job) -> Plan:
    """Plan clips of exactly the requested length; a shorter melody repeats."""
    model = job.model
    source = job.required_audio()
    mono = (job.analysis.melody(source) if model.separates_melody else source).convert(model.sample_rate, 1)
    if mono.is_silent:
        note("input_audio has no effect: nothing of it is left when its melody is taken out and mixed to one channel.")
    melody = torch.from_numpy(mono.samples)

    def condition_at(frame: int) -> Condition:
        return job.condition(melody=_window(melody, frame, job))

    return Plan(condition_at, None, job.frames, job.cut, sections.wordings(job))


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples]."""
    return streaming.generate(job, plan(job))


def _window(melody: torch.Tensor, frame: int, job: Job) -> torch.Tensor:
    """Return the melody of the window that starts at `frame`, starting over when the melody ends."""
    if not frame and job.frames <= job.model.window:
        return melody
    positions = torch.arange(job.model.window * job.model.hop) + frame * job.model.hop
    return melody[:, positions % melody.shape[-1]]
