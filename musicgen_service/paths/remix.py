"""Remix: the vocals of a song with a new backing.

The scheme is that of musicgen-remixer: keep the vocals, generate a backing on the song's chords at the song's
tempo, begin it where its bars are the song's, move its downbeats to the song's, and mix.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from musicgen_service.analysis import kicks
from musicgen_service.analysis.beats import LOW_CONFIDENCE, BeatGrid
from musicgen_service.analysis.clear_bars import has_clear_bars
from musicgen_service.audio import mixing
from musicgen_service.audio.music import Music
from musicgen_service.audio.reading import Audio
from musicgen_service.notes import note
from musicgen_service.paths import progressions
from musicgen_service.paths.alignment import align, anchors, bar_lines, on_kicks
from musicgen_service.paths.grid import MIN_CONFIDENCE, same_tempo
from musicgen_service.paths.job import Clip, Job, scaled

_EXTRA_SECONDS = 1.0
"""Seconds generated beyond the song's end, so that the backing's last bar can be moved forward."""
_SEPARATION_SHARE = 0.1
"""Share of the progress that the separation is reported as."""


def generate(job: Job) -> Iterator[Clip]:
    """Generate remixes [channels, samples] as long as the song, with their backing and vocals on request."""
    song, rate, channels = job.required_audio(), job.model.sample_rate, job.model.channels
    length = round(song.samples.shape[1] * rate / song.rate)
    vocals, accompaniment = job.analysis.split(song, scaled(job.report, 0, _SEPARATION_SHARE))
    job = replace(job, report=scaled(job.report, _SEPARATION_SHARE, 1))
    grid = _trusted_grid(job, song)
    harmony = job.analysis.harmony(accompaniment.mono, accompaniment.rate, grid)
    music = Music(job.request.requested_tempo or grid.tempo or None, harmony.clear_key)
    voice = mixing.fit_length(vocals.convert(rate, channels).samples, length)
    rest = mixing.fit_length(accompaniment.convert(rate, channels).samples, length)
    if not mixing.has_vocals(voice, rest, rate):
        note("No vocals were found in input_audio, so the remix is the new backing alone.")
        voice = np.zeros_like(voice)
    # Half a bar more on either side: the song may begin anywhere in the backing's first bar.
    early = _bar(grid) / 2
    frames = -(-(length + round((_EXTRA_SECONDS + 2 * early) * rate)) // job.model.hop)
    tempo = job.request.bpm or (round(grid.tempo) or None)
    with_tempo = replace(job, request=replace(job.request, bpm=tempo))
    timeline = progressions.later(progressions.repeated(harmony.chords, song.seconds), -early)
    condition_at = progressions.condition_at(with_tempo, timeline)
    for clip in job.generate_clips(condition_at, None, frames):
        backing = _aligned(job, clip.samples, grid, length)
        parts = mixing.mix(backing, voice, rest, rate, job.request.normalization_strategy)
        stems = {"backing": parts.backing, "vocals": parts.vocals} if job.request.return_stems else {}
        yield replace(clip, samples=parts.full, stems=stems, music=music)


def _trusted_grid(job: Job, song: Audio) -> BeatGrid:
    """The song's beats; none, with a note, where they are unclear or contradict the tempo that the client asks for."""
    bpm = job.request.requested_tempo
    grid = job.analysis.track(song.mono, song.rate, bpm)
    own = f"has {bpm:g} bpm" if bpm else "has a tempo of its own"
    if not len(grid.beats):
        note(f"No beats were found in input_audio, so the new backing {own} and is not aligned.")
    elif grid.confidence < LOW_CONFIDENCE:
        confidence = f"(confidence {grid.confidence:.2f})"
        note(f"The beats of input_audio are unclear {confidence}, so the new backing {own} and is not aligned.")
    elif bpm and not same_tempo(grid, bpm):
        note(f"input_audio seems to have {grid.tempo:.4g} bpm, so the new backing with {bpm:g} bpm is not aligned.")
    else:
        if not has_clear_bars(grid):
            confidence = f"(confidence {grid.metre_confidence:.2f})"
            note(f"The bars of input_audio are unclear {confidence}, so the new backing's may begin on other beats.")
        return grid
    return BeatGrid()


def _aligned(job: Job, sound: np.ndarray, grid: BeatGrid, length: int) -> np.ndarray:
    """Begin the backing where its bars are the song's, align its downbeats, and cut it to the song's length."""
    rate, bar = job.model.sample_rate, _bar(grid)
    start = round(bar / 2 * rate)
    if not len(grid.downbeats):
        return sound[:, start:][:, :length]
    own_grid = job.analysis.track(sound, rate, grid.tempo)
    if not len(own_grid.beats):
        note("No beats were found in the new backing, so it is not aligned with input_audio.")
    elif own_grid.confidence < MIN_CONFIDENCE:
        note("The beats of the new backing are unclear, so it is not aligned with input_audio.")
    else:
        downbeats = on_kicks(bar_lines(own_grid, bar), kicks.beginnings(sound, rate))
        start = round((downbeats[0] - grid.downbeats[0]) % bar * rate)
        downbeats = np.round(downbeats * rate - start) / rate
        moves = anchors(downbeats[downbeats >= 0], grid.downbeats, job.request.beat_sync_threshold)
        return align(sound[:, start:], rate, moves, length)
    return sound[:, start : start + length]


def _bar(grid: BeatGrid) -> float:
    """Seconds of a bar; 0 where there are no beats."""
    return 60 * grid.beats_per_bar / grid.tempo if len(grid.beats) else 0.0
