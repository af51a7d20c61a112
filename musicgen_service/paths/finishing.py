"""What is done to a clip after its path has made it."""

from collections.abc import Iterator
from dataclasses import replace

from musicgen_service.analysis import midi
from musicgen_service.paths.job import Clip, Job


def finished(job: Job, clip: Clip) -> Iterator[Clip]:
    """Yield the clip as it is delivered, and then each of its stems."""
    clip = _described(job, clip)
    yield replace(clip, stems={})
    for part, samples in clip.stems.items():
        yield replace(clip, samples=samples, part=part, stems={}, midi=None)


def _described(job: Job, clip: Clip) -> Clip:
    """The clip with what is known of its music, and a MIDI file of what is heard in it where one is asked for.

    Its key is listened for in a loop, which a DAW transposes by it, and for a MIDI file; nothing else needs it.
    """
    rate, music = clip.rate or job.model.sample_rate, clip.music
    music = replace(music, tempo=music.tempo or job.request.requested_tempo)
    if not music.beats and not job.request.return_midi:
        return replace(clip, music=music)
    grid = clip.grid or job.analysis.track(clip.samples, rate, job.request.bpm)
    harmony = job.analysis.harmony(clip.samples, rate, grid)
    clip = replace(clip, music=replace(music, key=harmony.clear_key or music.key))
    if not job.request.return_midi:
        return clip
    return replace(clip, midi=midi.encode(grid, harmony, job.analysis.transcribe(clip.samples, rate)))
