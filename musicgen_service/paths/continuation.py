"""Continuation of input audio, which is kept unchanged at the start of the clip."""

from collections.abc import Iterator

import numpy as np
import torch

from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.audio.reading import Audio
from musicgen_service.notes import note
from musicgen_service.paths import levels, progressions, sections, streaming, windows
from musicgen_service.paths.job import Clip, Job
from musicgen_service.paths.streaming import Plan

_FADE = 0.01
"""Seconds of the crossfade from the input audio to the codec's version of it, just before the new music."""


def plan(job: Job) -> Plan:
    """Plan clips that begin with the input audio, followed by new music up to the requested length.

    Audio longer than a window is continued from its last seconds. Chords that are asked for begin with the new music.
    """
    model, rate = job.model, job.model.sample_rate
    source = job.required_audio().convert(rate, model.channels).samples
    source_frames = source.shape[1] // model.hop
    first = source_frames - windows.context_frames(model) if source_frames >= model.window else 0
    prefix_tokens = None
    if source_frames:
        prefix_tokens = model.encode(torch.from_numpy(source[:, first * model.hop : source_frames * model.hop]))
    else:
        note(f"input_audio is shorter than {model.hop / rate:g} s, so the music does not go on from it.")
    known = source[:, first * model.hop : source_frames * model.hop]

    def audible(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        return job.cut(_joined(source, known, first * model.hop, pieces, rate))

    wordings = sections.wordings(job, source_frames - first)
    job, timeline = progressions.requested(job)
    chords: list[ChordSegment] = []
    if timeline is not None:
        chords = progressions.joined(progressions.nothing, source.shape[1] / rate, timeline)(0.0, job.request.duration)
        # What the music goes on from keeps its own chords.
        heard = progressions.heard(job, Audio(known, rate)) if known.size else progressions.nothing
        timeline = progressions.joined(heard, source.shape[1] / rate - first / model.frame_rate, timeline)
    condition_at = progressions.condition_at(job, timeline)
    return Plan(condition_at, prefix_tokens, job.frames - first, audible, wordings, chords)


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples]."""
    return streaming.generate(job, plan(job))


def _joined(
    source: np.ndarray, known: np.ndarray, offset: int, pieces: Iterator[np.ndarray], rate: int
) -> Iterator[np.ndarray]:
    """Append generated sound, which starts at sample `offset`, after the end of `source`, crossfaded.

    Parameters
    ----------
    source : the input audio [channels, samples]
    known : the part of it that the generated sound begins with, in the codec's version
    pieces : the generated sound, in consecutive pieces
    rate : samples per second
    """
    overlap = source.shape[1] - offset
    fade = min(round(_FADE * rate), overlap)
    yield source[:, : source.shape[1] - fade]
    parts = []
    for piece in pieces:
        parts.append(piece)
        if sum(part.shape[1] for part in parts) >= overlap:
            break
    beginning = streaming.joined(parts)
    compared = round(levels.COMPARED_SECONDS * rate)
    ratio = levels.ratio(known[:, -compared:], beginning[:, : known.shape[1]][:, -compared:], rate)
    beginning *= ratio
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    faded = beginning[:, overlap - fade : overlap]
    yield source[:, source.shape[1] - fade :] * (1 - ramp) + faded * ramp
    yield beginning[:, overlap:]
    for piece in pieces:
        yield piece * ratio
