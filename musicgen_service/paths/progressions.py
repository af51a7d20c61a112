"""The chords that a clip is made on: those of a text or of a recording, over any length of time."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from musicgen_service.analysis import chords
from musicgen_service.analysis.beats import LOW_CONFIDENCE
from musicgen_service.analysis.chord_labels import NO_CHORD
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.audio.reading import Audio
from musicgen_service.engine.interface import Condition
from musicgen_service.notes import note
from musicgen_service.paths.job import Job
from musicgen_service.requests.chord_text import Progression
from musicgen_service.requests.request import GenerationRequest
from musicgen_service.requests.sections import Section

Timeline = Callable[[float, float], list[ChordSegment]]
"""The chords from a time on, for so many seconds, relative to that time."""


def bars(progression: Progression, bar_seconds: float) -> Timeline:
    """The chords of a text, which begins again after its last bar; each bar lies where its number says."""

    def between(start: float, seconds: float) -> list[ChordSegment]:
        first, last = int(start // bar_seconds), int((start + seconds) // bar_seconds)
        segments = [
            ChordSegment(
                (number + float(part.start)) * bar_seconds - start,
                (number + float(part.end)) * bar_seconds - start,
                part.label,
            )
            for number in range(first, last + 1)
            for part in progression.bars[number % len(progression.bars)]
        ]
        return _within(segments, seconds)

    return between


def repeated(harmony: Sequence[ChordSegment], length: float) -> Timeline:
    """The chords of a recording of `length` seconds, which begins again after its end."""

    def between(start: float, seconds: float) -> list[ChordSegment]:
        numbers = range(int(start // length), int((start + seconds) // length) + 1)
        shifts = [number * length - start for number in numbers]
        return _within([_moved(segment, shift) for shift in shifts for segment in harmony], seconds)

    return between


def joined(before: Timeline, end: float, after: Timeline) -> Timeline:
    """One timeline up to `end`, and another one from there on."""

    def between(start: float, seconds: float) -> list[ChordSegment]:
        early = min(max(end - start, 0.0), seconds)
        later = after(max(start - end, 0.0), seconds - early) if early < seconds else []
        return [*(before(start, early) if early else []), *(_moved(segment, early) for segment in later)]

    return between


def later(timeline: Timeline, seconds: float) -> Timeline:
    """A timeline from a time on."""
    return lambda start, length: timeline(start + seconds, length)


def heard(job: Job, audio: Audio) -> Timeline:
    """The chords that are heard in a recording, from its beginning on; it begins again after its end."""
    grid = job.analysis.track(audio.mono, audio.rate, job.request.requested_tempo)
    return repeated(job.analysis.harmony(audio.mono, audio.rate, grid).chords, audio.seconds)


def nothing(_start: float, _seconds: float) -> list[ChordSegment]:
    """No chords at any time."""
    return []


def requested(job: Job) -> tuple[Job, Timeline | None]:
    """The chords that a request asks for, if it does, and the job, with the tempo of the recording that has them."""
    job, timeline = _of_whole(job)
    if not job.request.parts or (timeline is None and all(part.chords is None for part in job.request.parts)):
        return job, timeline
    return job, by_sections(job.request, timeline or nothing)


def by_sections(request: GenerationRequest, whole: Timeline) -> Timeline:
    """The chords of each section: its own, or those of `text_chords`, from its beginning; or else those of `whole`."""

    def of_section(part: Section) -> Timeline:
        progression = part.chords or request.progression
        if progression is None:
            return later(whole, part.start)
        assert part.bpm is not None, "the request was checked to have a tempo"
        return bars(progression, request.metre.bar_seconds(part.bpm))

    *before, last = request.parts
    timeline = of_section(last)
    for part in reversed(before):
        timeline = joined(of_section(part), part.end - part.start, timeline)
    return timeline


def _of_whole(job: Job) -> tuple[Job, Timeline | None]:
    request, recording = job.request, job.chords_audio
    if request.progression is not None:
        assert request.bpm is not None, "the request was checked to have a tempo"
        return job, bars(request.progression, request.metre.bar_seconds(request.bpm))
    if recording is None:
        return job, None
    grid = job.analysis.track(recording.mono, recording.rate, request.requested_tempo)
    harmony = job.analysis.harmony(recording.mono, recording.rate, grid).chords
    if all(segment.label == NO_CHORD for segment in harmony):
        note("No chords were found in audio_chords.")
    if request.bpm is None and grid.confidence >= LOW_CONFIDENCE:
        job = replace(job, request=replace(request, bpm=round(grid.tempo)))
    elif request.bpm is None and len(grid.beats):
        note(f"The beats of audio_chords are unclear (confidence {grid.confidence:.2f}), so its tempo is not used.")
    return job, repeated(harmony, recording.seconds)


def condition_at(job: Job, timeline: Timeline | None) -> Callable[[int], Condition]:
    """Return the condition of the window that begins at a frame: the request's texts, and the chords of its time."""
    if timeline is None:
        condition = job.condition()
        return lambda _: condition
    span, coefficient = job.model.melody_span, job.request.chroma_coefficient
    assert span is not None, "the request was checked to have a model that takes a melody"

    def condition_at(frame: int) -> Condition:
        segments = timeline(frame / job.model.frame_rate, span.seconds)
        chroma = chords.chroma(segments, span.frames, span.seconds, coefficient)
        return job.condition(chroma=torch.from_numpy(chroma))

    return condition_at


def _moved(segment: ChordSegment, seconds: float) -> ChordSegment:
    return segment._replace(start=segment.start + seconds, end=segment.end + seconds)


def _within(segments: list[ChordSegment], seconds: float) -> list[ChordSegment]:
    """Cut segments to those from 0 on, for so many seconds."""
    return [
        ChordSegment(max(segment.start, 0.0), min(segment.end, seconds), segment.label)
        for segment in segments
        if segment.end > 0 and segment.start < seconds
    ]
