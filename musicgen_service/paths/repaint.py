"""Repaint: a part of a recording is made anew, from what stands before it, and leads to what follows.

Of several candidates the one is kept that joins best (`candidates`): after which the model finds what follows likely,
whose seams are heard least, and whose onsets are on the beats of the recording. The rest of the recording is not
touched, but for two crossfades just outside the part, from the recording to the codec's version of it and back.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from musicgen_service.analysis.beats import LOW_CONFIDENCE
from musicgen_service.audio import mixing
from musicgen_service.audio.reading import Audio
from musicgen_service.models.music_model import MusicModel
from musicgen_service.notes import note
from musicgen_service.paths import candidates, levels, windows
from musicgen_service.paths.candidates import Surroundings
from musicgen_service.paths.job import Clip, Job, scaled
from musicgen_service.paths.windows import generate_tokens
from musicgen_service.seeds import derive

FADE = 0.01
"""Seconds of each crossfade."""
_FOLLOWING = 5.0
"""Seconds after the part by which candidates are judged."""
_HEARD = 30.0
"""Seconds before and after the part in which beats are looked for."""
_MIN_SECONDS = 0.5
"""A part is not made shorter than this to begin and end on beats."""


@dataclass(frozen=True)
class Region:
    """The part that is made anew, and what of the recording the model is told, in frames.

    Attributes
    ----------
    start, end : of the part, counted from the beginning of the recording
    before, after : frames of the recording next to it
    """

    start: int
    end: int
    before: int
    after: int

    @classmethod
    def of(cls, start: float, end: float, source: Audio, model: MusicModel) -> "Region":
        """Return the frames within `start` to `end` seconds of a recording; up to its end those that cover it."""
        rate = model.frame_rate
        available = -(-source.samples.shape[1] * rate // source.rate)
        # Rounded first: 0.3 s times 50 is slightly more than 15.
        first = int(np.ceil(round(start * rate, 6)))
        last = available if end >= source.seconds else int(np.floor(round(end * rate, 6)))
        before = min(first, windows.context_frames(model))
        return cls(first, last, before, min(round(_FOLLOWING * rate), model.window // 2, available - last))

    @property
    def frames(self) -> int:
        """Length of the part."""
        return self.end - self.start

    def ending(self, early: int) -> "Region":
        """The part up to so many frames before its end."""
        return replace(self, end=self.end - early, after=self.after + early)


def generate(job: Job) -> Iterator[Clip]:
    """Generate clips [channels, samples] of the rate, channels and length of the input audio."""
    model, source = job.model, job.required_audio()
    start, end, beats = _borders(job, source)
    region = Region.of(start, end, source, model)
    known = _known(source, region, model)
    before, after = known[:, : region.before * model.hop], known[:, (region.before + region.frames) * model.hop :]
    context = model.encode(torch.from_numpy(before)) if before.size else None
    around = _surroundings(known, beats, region, model)
    for number, seed in enumerate(job.seeds, 1):
        report = scaled(job.report, (number - 1) / len(job.seeds), number / len(job.seeds))
        made = _candidates(job, seed, context, region.before + region.frames, around, report)
        tokens, early = made[0], 0
        if around is not None:
            chosen, join = candidates.best(model, job.condition(), made, around)
            tokens, early = around.joined(made[chosen], join.early), join.early
        sound = job.decode_tokens(tokens, seed)
        compared = round(levels.COMPARED_SECONDS * model.sample_rate)
        beside = slice(max(0, before.shape[1] - compared), before.shape[1])
        if context is None:
            beside = slice(known.shape[1] - after.shape[1], known.shape[1] - after.shape[1] + compared)
        sound *= levels.ratio(known[:, beside], sound[:, beside], model.sample_rate)
        new = Audio(mixing.limit(sound, model.sample_rate), model.sample_rate)
        yield Clip(_joined(source, new, region.ending(early), model), seed, number, rate=source.rate)


def _borders(job: Job, source: Audio) -> tuple[float, float, np.ndarray]:
    """Return the start and end of the part in seconds, on beats where there are some just inside it, and the beats."""
    start, end = job.request.continuation_start, job.request.continuation_end
    end = source.seconds if end is None else min(end, source.seconds)
    heard = source.slice(max(0.0, start - _HEARD), end + _HEARD)
    grid = job.analysis.track(heard.mono, source.rate, job.request.requested_tempo)
    beats = grid.beats + max(0.0, start - _HEARD) if grid.confidence >= LOW_CONFIDENCE else np.zeros(0)
    aligned = on_beats(start, end, source.seconds, beats, grid.tempo)
    if aligned != (start, end):
        note(
            f"The part from {start:.4g} to {end:.4g} s is made anew from {aligned[0]:.4g} to {aligned[1]:.4g} s, "
            "where beats are."
        )
    return *aligned, beats


def on_beats(start: float, end: float, length: float, beats: np.ndarray, tempo: float) -> tuple[float, float]:
    """Move the borders of a part to the nearest beats inside it, at most half a beat away.

    They are never moved outwards, into what is to be kept, nor where the part begins or ends with the recording.

    Parameters
    ----------
    start, end : of the part, in seconds
    length : of the recording, in seconds
    beats : its clear beats, in seconds
    tempo : beats per minute
    """
    if not len(beats):
        return start, end
    reach = 30 / tempo
    first = beats[(beats >= start) & (beats <= start + reach)]
    last = beats[(beats <= end) & (beats >= end - reach)]
    begin = float(first[0]) if len(first) and start > 0 else start
    finish = float(last[-1]) if len(last) and end < length else end
    return (begin, finish) if finish - begin >= _MIN_SECONDS else (start, end)


def _known(source: Audio, region: Region, model: MusicModel) -> np.ndarray:
    """Return the part and what is next to it as the model hears it: float32 [channels, samples]."""
    first, last = (
        round(frame * source.rate / model.frame_rate)
        for frame in (region.start - region.before, region.end + region.after)
    )
    heard = Audio(source.samples[:, first:last], source.rate).convert(model.sample_rate, model.channels)
    return mixing.fit_length(heard.samples, (region.before + region.frames + region.after) * model.hop)


def _surroundings(known: np.ndarray, beats: np.ndarray, region: Region, model: MusicModel) -> Surroundings | None:
    """Return what the part is joined to; None where the recording ends with it."""
    if not region.after:
        return None
    early = candidates.reach(region.frames)
    following = model.encode(torch.from_numpy(known[:, (region.before + region.frames - early) * model.hop :]))
    within = beats - (region.start - region.before) / model.frame_rate
    return Surroundings(region.before, early, following, within)


def _candidates(
    job: Job,
    seed: int,
    context: torch.Tensor | None,
    length: int,
    around: Surroundings | None,
    report: Callable[[float], None],
) -> list[torch.Tensor]:
    """Generate tokens [codebooks, length] several times, as far as one of them can be chosen."""
    count = 1 if around is None or job.sampling.temperature == 0 else candidates.COUNT
    seeds = [derive(seed, "candidate", index) if index else seed for index in range(count)]
    condition = job.condition()
    return generate_tokens(job.model, lambda _: condition, context, length, job.sampling, seeds, report)


def _joined(source: Audio, new: Audio, region: Region, model: MusicModel) -> np.ndarray:
    """Put new sound, which begins `region.before` frames before the part, into the recording, crossfaded."""
    first, start, end = (
        round(frame * source.rate / model.frame_rate)
        for frame in (region.start - region.before, region.start, region.end)
    )
    result = source.samples.copy()
    sound = mixing.fit_length(new.convert(source.rate, source.samples.shape[0]).samples, result.shape[1] - first)
    result[:, start:end] = sound[:, start - first : end - first]
    fade = round(FADE * source.rate)
    leads, follows = slice(max(first, start - fade), start), slice(end, end + fade)
    for part, is_rising in ((leads, True), (follows, False)):
        there = result[:, part]
        weight = np.linspace(0.0, 1.0, there.shape[1] + 2, dtype=np.float32)[1:-1]
        there += (weight if is_rising else weight[::-1]) * (sound[:, part.start - first :][:, : there.shape[1]] - there)
    return result
