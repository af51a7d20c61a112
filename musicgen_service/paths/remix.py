"""A new band behind an old voice.

The scheme is that of musicgen-remixer: keep the vocals, generate a backing on the song's chords at the song's
tempo, move the backing's downbeats to the song's, and mix.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch

from musicgen_service.analysis import chords
from musicgen_service.analysis.beats import BeatGrid
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.audio import mixing
from musicgen_service.engine.interface import Condition
from musicgen_service.notes import note
from musicgen_service.paths.alignment import align, anchors
from musicgen_service.paths.job import Clip, Job

_SPARE = 1.0
"""Seconds that are generated beyond the song's end, so that the backing's last bar may come forward."""


def generate(job: Job) -> Iterator[Clip]:
    """Remixes [channels, samples] as long as the song, each with its backing and its vocals when asked for."""
    song, rate, channels = job.required_audio(), job.model.sample_rate, job.model.channels
    length = round(song.samples.shape[1] * rate / song.rate)
    vocals, accompaniment = job.analysis.split(song)
    grid = job.analysis.track(song.mono, song.rate, job.request.bpm)
    if not len(grid.beats):
        note("No beats were found in input_audio, so the new backing has a tempo of its own and is not aligned.")
    harmony = chords.recognise(accompaniment.mono, accompaniment.rate, grid)
    voice = mixing.fitted(vocals.convert(rate, channels).samples, length)
    rest = mixing.fitted(accompaniment.convert(rate, channels).samples, length)
    if not mixing.is_heard(voice, rest, rate):
        note("No vocals were found in input_audio, so the remix is the new backing alone.")
        voice = np.zeros_like(voice)
    frames = -(-(length + round(_SPARE * rate)) // job.model.hop)
    for clip in job.sounds(_condition_at(job, grid, harmony, song.seconds), None, frames):
        backing = _aligned(job, clip.samples, grid, length)
        parts = mixing.mix(backing, voice, rest, rate, job.request.normalization_strategy)
        yield replace(clip, samples=parts.whole)
        if job.request.return_stems:
            yield replace(clip, samples=parts.backing, part="backing")
            yield replace(clip, samples=parts.vocals, part="vocals")


def _condition_at(job: Job, grid: BeatGrid, harmony: list[ChordSegment], seconds: float) -> Callable[[int], Condition]:
    """For the window that starts at a frame: the prompt with the song's tempo, and the window's own chords."""
    tempo = job.request.bpm or (round(grid.tempo) or None)
    with_tempo = replace(job, request=replace(job.request, bpm=tempo))
    span, coefficient = job.model.melody_span, job.request.chroma_coefficient
    assert span is not None, "the request was checked to have a model that takes a melody"

    def condition_at(frame: int) -> Condition:
        heard = _from(harmony, seconds, frame / job.model.frame_rate, span.seconds)
        chroma = chords.chroma(heard, span.frames, span.seconds, coefficient)
        return with_tempo.condition(chroma=torch.from_numpy(chroma))

    return condition_at


def _from(harmony: list[ChordSegment], seconds: float, start: float, span: float) -> list[ChordSegment]:
    """The chords of `span` seconds from `start` on, as seen from there; after its end the song begins again."""
    rounds = range(int(start // seconds), int((start + span) // seconds) + 1)
    return [
        ChordSegment(segment.start + shift, segment.end + shift, segment.label)
        for shift in (number * seconds - start for number in rounds)
        for segment in harmony
        if segment.end + shift > 0 and segment.start + shift < span
    ]


def _aligned(job: Job, sound: np.ndarray, grid: BeatGrid, length: int) -> np.ndarray:
    """The backing with its downbeats where the song's are, as long as the song."""
    rate = job.model.sample_rate
    found = job.analysis.track(sound, rate, grid.tempo or None)
    moves = anchors(found.downbeats, grid.downbeats, job.request.beat_sync_threshold)
    if len(grid.beats) and not moves:
        note("No beats were found in the new backing, so it is not aligned with input_audio.")
    return align(sound, rate, moves, length)
