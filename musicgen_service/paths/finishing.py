"""What is done to a clip after its path has made it: bars, stems, repetition, fades, and the sample rate asked for."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from musicgen_service.analysis import midi
from musicgen_service.audio import fading, mixing, resampling
from musicgen_service.audio.reading import Audio
from musicgen_service.notes import note
from musicgen_service.paths import bars, progressions, sections
from musicgen_service.paths.job import Clip, Job

_ROUND = 1.0
"""Seconds of a loop's other end that a separator hears on either side of it."""
_RESTS = ("accompaniment", "other")
"""Sources that get what the others leave of a clip."""
_EDGE = 0.003
"""Seconds of the fades where a clip was cut."""


def finished(job: Job, clip: Clip) -> Iterator[Clip]:
    """Yield the clip as it is delivered, and then each of its stems."""
    request = job.request
    clip = replace(clip, sections=sections.markers(job))
    if request.trim_to_bars and not clip.music.beats:
        clip = _trimmed(job, clip)
    if request.separates_clips:
        clip = replace(clip, stems=_separated(job, clip))
    clip = _described(job, clip)
    rate = job.request.sample_rate or _rate(job, clip)
    whole, *parts = (_delivered(job, clip, samples, rate) for samples in (clip.samples, *clip.stems.values()))
    stems: Mapping[str, np.ndarray] = dict(zip(clip.stems, parts, strict=True))
    if request.separates_clips:
        rest = next(name for name in _RESTS if name in stems)
        stems = mixing.complete(whole, stems, rest, request.bit_depth)
    clip = replace(clip, rate=rate, stems={})
    yield replace(clip, samples=whole)
    for part, samples in stems.items():
        yield replace(clip, samples=samples, part=part, midi=None)


def heard(job: Job, pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Consecutive pieces of a clip that is heard while it is made, with its fades and at its sample rate."""
    rate = job.model.sample_rate
    fades = (round(seconds * rate) for seconds in (job.request.fade_in, job.request.fade_out))
    pieces = fading.fade_stream(pieces, job.samples, *fades)
    return resampling.resample_stream(pieces, rate, job.output_rate, job.output_samples)


def _trimmed(job: Job, clip: Clip) -> Clip:
    """The clip from its first downbeat to its last bar line; the clip itself, with a note, where no bar is heard."""
    rate = _rate(job, clip)
    grid = clip.grid or job.analysis.track(clip.samples, rate, job.request.requested_tempo)
    span = bars.whole_bars(grid, clip.samples.shape[1] / rate)
    if span is None:
        note("No whole bar is heard in the clip, so trim_to_bars has no effect.")
        return clip
    first, last = (round(seconds * rate) for seconds in span)
    edges = round(_EDGE * rate) if first else 0, round(_EDGE * rate) if last < clip.samples.shape[1] else 0

    def cut(samples: np.ndarray) -> np.ndarray:
        return fading.fade(samples[:, first:last], *edges)

    stems = {name: cut(samples) for name, samples in clip.stems.items()}
    chords = progressions.repeated(clip.chords, clip.samples.shape[1] / rate)(span[0], span[1] - span[0])
    clip = replace(clip, samples=cut(clip.samples), stems=stems, chords=chords)
    return replace(clip, grid=bars.within(grid, *span), sections=bars.sections_within(clip.sections, *span))


def _separated(job: Job, clip: Clip) -> dict[str, np.ndarray]:
    """The sources of a clip, by name; those of a loop are loops."""
    rate, length = _rate(job, clip), clip.samples.shape[1]
    margin = min(round(_ROUND * rate), length) if clip.music.beats else 0
    around = np.pad(clip.samples, [(0, 0), (margin, margin)], mode="wrap")
    sources = job.analysis.sources(Audio(around, rate), job.report)
    return {
        name: mixing.fit_length(source.convert(rate, len(clip.samples)).samples[:, margin:], length)
        for name, source in sources.items()
    }


def _described(job: Job, clip: Clip) -> Clip:
    """The clip with what is known of its music, and a MIDI file of what is heard in it where one is asked for.

    Its key is listened for in a loop, which a DAW transposes by it, and for a MIDI file; nothing else needs it.
    """
    rate, music, request = _rate(job, clip), clip.music, job.request
    repeat = request.repeat if music.beats else 1
    key, tempo = music.key or request.named_key, music.tempo or request.requested_tempo
    music = replace(music, tempo=tempo, key=key, beats=repeat * music.beats)
    if not music.beats and not request.return_midi:
        return replace(clip, music=music)
    grid = clip.grid or job.analysis.track(clip.samples, rate, tempo)
    harmony = job.analysis.harmony(clip.samples, rate, grid)
    clip = replace(clip, music=replace(music, key=harmony.clear_key or music.key))
    if not request.return_midi:
        return clip
    seconds = clip.samples.shape[1] / rate
    what = grid, harmony, job.analysis.transcribe(clip.samples, rate)
    chords = progressions.repeated(clip.chords, seconds)(0.0, repeat * seconds)
    return replace(clip, midi=midi.encode(*bars.repeated(*what, repeat, seconds), chords, clip.sections))


def _delivered(job: Job, clip: Clip, samples: np.ndarray, rate: int) -> np.ndarray:
    """Samples of a clip at a rate, as often and as faded as is asked for."""
    request = job.request
    length = round(_seconds(job, clip) * rate)
    if clip.music.beats:
        samples = resampling.resample_loop(np.tile(samples, request.repeat), length)
    else:
        samples = resampling.resample(samples, _rate(job, clip), rate, length)
    if request.fade_in or request.fade_out:
        samples = fading.fade(samples, *_fades(job, length / rate, rate))
    return np.clip(samples, -1.0, 1.0)


def _seconds(job: Job, clip: Clip) -> float:
    """The length of a clip, which its samples may only have approximately."""
    if clip.music.beats:
        assert clip.music.tempo is not None, "a loop has a tempo"
        return clip.music.beats * 60 / clip.music.tempo
    rate, samples = _rate(job, clip), clip.samples.shape[1]
    meant = [job.request.duration, *([job.audio.seconds] if job.audio else [])]
    return next((seconds for seconds in meant if round(seconds * rate) == samples), samples / rate)


def _fades(job: Job, seconds: float, rate: int) -> tuple[int, int]:
    """Samples of the fades of a clip; in proportion shorter where the clip is, with a note."""
    request = job.request
    asked = request.fade_in + request.fade_out
    share = min(1.0, seconds / asked)
    if share < 1:
        note(f"The clip has {seconds:.4g} s, so its fades, {asked:g} s together, are shortened.")
    return round(request.fade_in * share * rate), round(request.fade_out * share * rate)


def _rate(job: Job, clip: Clip) -> int:
    return clip.rate or job.model.sample_rate
