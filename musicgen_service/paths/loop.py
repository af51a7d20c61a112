"""Seamless loops of an exact tempo, and variations that continue the first one.

The scheme is that of musicgen-looper: generate, find the bars, cut a power of two of them, stretch them to
the tempo, and let each variation continue the loop's last four beats.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from musicgen_service.analysis import kicks, onsets
from musicgen_service.audio import loudness
from musicgen_service.audio.lufs import integrated_loudness
from musicgen_service.notes import note
from musicgen_service.paths import grid
from musicgen_service.paths.job import Clip, Job, scaled
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
    take = first_take(job, scaled(job.report, 0, share))
    first = loudness.normalise(take.loop, rate, job.request.normalization_strategy)
    yield Clip(first, job.seeds[0], 1, grid=take.grid, music=take.music)
    level = integrated_loudness(first, rate)
    lead = take.lead(_LEAD_BEATS, job.model.hop, job.model.window // 2)
    length = lead.shape[1] + round((take.cut.end - take.cut.start + grid.KICK_REACH + CONTEXT) * rate)
    for number, (seed, decode) in enumerate(_continuations(job, lead, length, scaled(job.report, share, 1)), 2):
        try:
            variation = take.continued(decode(), lead.shape[1]).loop
            samples = loudness.to_loudness(variation, rate, level)
            clip = Clip(samples, seed, number, grid=take.grid, music=take.music)
        except Exception as error:
            log(f"variation {number} failed: {type(error).__name__}: {error}")
            note(f"Variation {number} failed and is left out.")
            continue
        yield clip
    job.report(1.0)


def first_take(job: Job, report: Callable[[float], None]) -> Take:
    """Generate a take that keeps the requested tempo, or else cut the first attempt on a fixed grid of that tempo."""
    bpm, max_seconds, rate = job.request.bpm, job.request.duration, job.model.sample_rate
    assert bpm is not None, "the request was checked to have a tempo"
    seconds = max_seconds * _LENGTH_MARGIN + grid.BEATS_PER_BAR * 60 / bpm + 2 * CONTEXT
    condition = job.condition()
    attempts = []
    for attempt in range(ATTEMPTS):
        seed = derive(job.seeds[0], "attempt", attempt) if attempt else job.seeds[0]
        progress = scaled(report, attempt / ATTEMPTS, (attempt + 1) / ATTEMPTS)
        frames = -(-round(seconds * rate) // job.model.hop)
        [tokens] = generate_tokens(job.model, lambda _: condition, None, frames, job.sampling, [seed], progress)
        sound = job.decode_tokens(tokens, seed)
        beats = job.analysis.track(sound, rate, bpm)
        if cuts := grid.cuts(beats, bpm, max_seconds, sound.shape[1] / rate - CONTEXT):
            return _best(sound, rate, bpm, cuts[:_CANDIDATES])
        detected = f"{beats.tempo:.4g} bpm with confidence {beats.confidence:.2f}" if len(beats.beats) else "no beats"
        log(f"attempt {attempt + 1} of {ATTEMPTS} (seed {seed}) has no whole bars of {bpm:g} bpm: heard {detected}")
        attempts.append(sound)
    note(f"No attempt keeps {bpm:g} bpm, so the loop is cut on that tempo's own grid: its beats may be off.")
    sound = attempts[0]
    available = sound.shape[1] / rate - CONTEXT
    cuts = grid.cuts_on_fixed_grid(onsets.flux(sound, rate), onsets.HOP_SECONDS, bpm, max_seconds, available)
    return _best(sound, rate, bpm, cuts)


def _best(sound: np.ndarray, rate: int, bpm: float, cuts: list[grid.Cut]) -> Take:
    """Return the take whose join is least audible relative to its beats, of those that begin on a kick if any do."""
    cuts = grid.on_kicks(cuts, kicks.beginnings(sound, rate), sound.shape[1] / rate - CONTEXT)
    return min((Take.of(sound, rate, bpm, cut) for cut in cuts), key=lambda take: take.seam.excess)


def _continuations(
    job: Job, lead: np.ndarray, length: int, report: Callable[[float], None]
) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
    """Yield each variation's seed and a function that decodes its audio: `lead` continued to at least `length` samples.

    The tokens of a batch are generated together; each variation is decoded when it is needed.
    """
    condition = job.condition()
    prefix_tokens = job.model.encode(torch.from_numpy(lead.copy()))

    def tokens(seeds: Sequence[int], report: Callable[[float], None]) -> list[torch.Tensor]:
        frames = -(-length // job.model.hop)
        return generate_tokens(job.model, lambda _: condition, prefix_tokens, frames, job.sampling, seeds, report)

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
