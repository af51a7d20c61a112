"""Seamless loops of an exact tempo, and variations that continue the first one.

The scheme is that of musicgen-looper: generate, find the bars, cut a power of two of them, stretch them to
the tempo, and let each variation continue the loop's last four beats.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from musicgen_service.analysis import kicks, onsets
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.analysis.clear_bars import has_clear_bars
from musicgen_service.audio import loudness
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.notes import note
from musicgen_service.paths import grid, progressions
from musicgen_service.paths.grid import Bars
from musicgen_service.paths.job import Clip, Job, scaled
from musicgen_service.paths.progressions import Timeline
from musicgen_service.paths.takes import CONTEXT, Take
from musicgen_service.paths.windows import generate_tokens
from musicgen_service.progress import log
from musicgen_service.seeds import derive

ATTEMPTS = 3
BATCH_SIZE = 8
"""Variations generated in one batch; the next batch starts after these are written."""
_LEAD_BEATS = 4
"""Beats of the first loop that a variation continues."""
_LENGTH_MARGIN = 1.05
"""Factor of extra length, so that music slower than requested is still long enough."""
_CANDIDATES = 4


def generate(job: Job) -> Iterator[Clip]:
    """Generate loops of round(beats * 60 / bpm * rate) samples: the first one, then each variation when it is ready.

    A variation depends only on the request's seed and its own number. One that fails is logged and left out.
    """
    rate, others = job.model.sample_rate, job.seeds[1:]
    share = 1 / (1 + -(-len(others) // BATCH_SIZE))
    job, timeline = progressions.requested(job)
    take = first_take(job, scaled(job.report, 0, share), timeline)
    first = loudness.normalise(take.loop, rate, job.request.normalization_strategy)
    chords = [] if timeline is None else _chords(job, timeline, take)
    yield Clip(first, job.seeds[0], 1, grid=take.grid, chords=chords, music=take.music)
    level = integrated_loudness(first, rate)
    lead = take.lead(_LEAD_BEATS, job.model.hop, job.model.window // 2)
    length = lead.shape[1] + round((take.cut.end - take.cut.start + grid.KICK_REACH + CONTEXT) * rate)
    if timeline is not None:
        # A variation goes on from the end of the loop, on the chords from its beginning.
        seconds = lead.shape[1] / rate
        before = progressions.later(timeline, take.cut.end - seconds)
        timeline = progressions.joined(before, seconds, progressions.later(timeline, take.cut.start))
    made = _continuations(job, lead, length, scaled(job.report, share, 1), timeline)
    for number, (seed, decode) in enumerate(made, 2):
        try:
            variation = take.continued(decode(), lead.shape[1]).loop
            samples = loudness.to_loudness(variation, rate, level)
            clip = Clip(samples, seed, number, grid=take.grid, chords=chords, music=take.music)
        except Exception as error:
            log(f"variation {number} failed: {type(error).__name__}: {error}")
            note(f"Variation {number} failed and is left out.")
            continue
        yield clip
    job.report(1.0)


def first_take(job: Job, report: Callable[[float], None], timeline: Timeline | None = None) -> Take:
    """Generate a take that keeps the requested tempo, or else cut the first attempt on a fixed grid of that tempo.

    Parameters
    ----------
    timeline : the chords that it is made on; those of a text are cut from their first bar on
    """
    bpm, max_seconds, rate = job.request.bpm, job.request.duration, job.model.sample_rate
    assert bpm is not None, "the request was checked to have a tempo"
    seconds = max_seconds * _LENGTH_MARGIN + grid.BEATS_PER_BAR * 60 / bpm + 2 * CONTEXT
    condition_at, bars = progressions.condition_at(job, timeline), _bars(job)
    attempts = []
    for attempt in range(ATTEMPTS):
        seed = derive(job.seeds[0], "attempt", attempt) if attempt else job.seeds[0]
        progress = scaled(report, attempt / ATTEMPTS, (attempt + 1) / ATTEMPTS)
        frames = -(-round(seconds * rate) // job.model.hop)
        [tokens] = generate_tokens(job.model, condition_at, None, frames, job.sampling, [seed], progress)
        sound = job.decode_tokens(tokens, seed)
        beats = job.analysis.track(sound, rate, bpm)
        available = sound.shape[1] / rate - CONTEXT
        if cuts := grid.cuts(beats, bpm, max_seconds, available, bars):
            if bars is not None or has_clear_bars(beats):
                return _best(sound, rate, bpm, cuts)
            confidence = f"(confidence {beats.metre_confidence:.2f})"
            note(f"The bars of the music are unclear {confidence}, so the loop may begin on another beat than a bar's.")
            on_beats = grid.cuts(replace(beats, downbeats=beats.beats), bpm, max_seconds, available)
            return _best(sound, rate, bpm, cuts, on_beats)
        detected = f"{beats.tempo:.4g} bpm with confidence {beats.confidence:.2f}" if len(beats.beats) else "no beats"
        log(f"attempt {attempt + 1} of {ATTEMPTS} (seed {seed}) has no whole bars of {bpm:g} bpm: heard {detected}")
        attempts.append(sound)
    note(f"No attempt keeps {bpm:g} bpm, so the loop is cut on that tempo's own grid: its beats may be off.")
    sound = attempts[0]
    available = sound.shape[1] / rate - CONTEXT
    cuts = grid.cuts_on_fixed_grid(onsets.flux(sound, rate), onsets.HOP_SECONDS, bpm, max_seconds, available, bars)
    return _best(sound, rate, bpm, cuts)


def _bars(job: Job) -> Bars | None:
    """The bars of the chords that a text asks for, with a note where no loop has all of them."""
    request = job.request
    if request.progression is None:
        return None
    assert request.bpm is not None, "the request was checked to have a tempo"
    metre, count = request.metre, len(request.progression.bars)
    bars = Bars(metre.bar_seconds(request.bpm), metre.beats, str(metre), count)
    if bars.seconds * bars.count > request.duration + grid.ROUNDING:
        note(
            f"The {bars.count} bars of text_chords last {bars.seconds * bars.count:.4g} s, so the loop of at most "
            f"{request.duration:g} s ends before them."
        )
    return bars


def _chords(job: Job, timeline: Timeline, take: Take) -> list[ChordSegment]:
    """The chords that were asked for in a loop."""
    bars = _bars(job)
    start = round(take.cut.start / bars.seconds) * bars.seconds if bars else take.cut.start
    return timeline(start, take.cut.beats * 60 / take.bpm)


def _best(sound: np.ndarray, rate: int, bpm: float, *cuts: list[grid.Cut]) -> Take:
    """Return the take whose join is least audible relative to its beats.

    It is one of those that begin on a kick, of the first group of cuts with any, or else any of the first group.
    """
    # Kicks first: a later bar may be the only one that begins on one.
    found, available = kicks.beginnings(sound, rate), sound.shape[1] / rate - CONTEXT
    on_kicks = (grid.on_kicks(group, found, available) for group in cuts)
    best = next(filter(None, on_kicks), cuts[0])[:_CANDIDATES]
    return min((Take.of(sound, rate, bpm, cut) for cut in best), key=lambda take: take.seam.excess)


def _continuations(
    job: Job, lead: np.ndarray, length: int, report: Callable[[float], None], timeline: Timeline | None
) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
    """Yield each variation's seed and a function that decodes its audio: `lead` continued to at least `length` samples.

    The tokens of a batch are generated together; each variation is decoded when it is needed.
    """
    condition_at = progressions.condition_at(job, timeline)
    prefix_tokens = job.model.encode(torch.from_numpy(lead.copy()))

    def tokens(seeds: Sequence[int], report: Callable[[float], None]) -> list[torch.Tensor]:
        frames = -(-length // job.model.hop)
        return generate_tokens(job.model, condition_at, prefix_tokens, frames, job.sampling, seeds, report)

    def generate_single(seed: int, report: Callable[[float], None]) -> np.ndarray:
        return job.decode_tokens(tokens([seed], report)[0], seed)

    others = job.seeds[1:]
    for begin in range(0, len(others), BATCH_SIZE):
        seeds = others[begin : begin + BATCH_SIZE]
        progress = scaled(report, begin / len(others), (begin + len(seeds)) / len(others))
        try:
            batch = zip(tokens(seeds, progress), seeds, strict=True)
            decoders = [partial(job.decode_tokens, clip, seed) for clip, seed in batch]
        except Exception as error:
            log(f"{len(seeds)} variations at once failed, so each is made alone: {type(error).__name__}: {error}")
            decoders = [partial(generate_single, seed, progress) for seed in seeds]
        yield from zip(seeds, decoders, strict=True)
