"""Seamless loops of an exact tempo, and variations that go on from the first one.

The scheme is that of musicgen-looper: generate, find the bars, cut a power of two of them, stretch them to
the tempo, and let each variation go on from the loop's last four beats.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import torch

from musicgen_service.analysis import onsets
from musicgen_service.audio import loudness
from musicgen_service.notes import note
from musicgen_service.paths import grid
from musicgen_service.paths.job import Clip, Job, scaled
from musicgen_service.paths.takes import CONTEXT, Take
from musicgen_service.paths.windows import generate_tokens
from musicgen_service.progress import log
from musicgen_service.seeds import derive

ATTEMPTS = 3
TOGETHER = 8
"""Variations that share the model's steps; the next ones wait until these are written."""
_LEAD_BEATS = 4
"""Beats of the first loop that a variation goes on from."""
_SLOWER = 1.05
"""Music may be this much slower than asked for and still be long enough."""
_CANDIDATES = 4


def generate(job: Job) -> Iterator[Clip]:
    """Loops of round(beats * 60 / bpm * rate) samples: the first one, then its variations as each is ready.

    A variation depends on the request's seed and its own number only. One that fails is reported in the log and
    left out.
    """
    rate, others = job.model.sample_rate, job.seeds[1:]
    share = 1 / (1 + -(-len(others) // TOGETHER))
    take = first_take(job, scaled(job.report, 0, share))
    first = loudness.normalise(take.loop, rate, job.request.normalization_strategy)
    yield Clip(first, job.seeds[0], 1)
    level = loudness.integrated_loudness(first, rate)
    lead = take.lead(_LEAD_BEATS, job.model.hop, job.model.window // 2)
    length = lead.shape[1] + round((take.cut.end - take.cut.start + CONTEXT) * rate)
    for number, (seed, made) in enumerate(_continuations(job, lead, length, scaled(job.report, share, 1)), 2):
        try:
            variation = take.continued(made(), lead.shape[1]).loop
            clip = Clip(loudness.to_loudness(variation, rate, level), seed, number)
        except Exception as error:
            log(f"variation {number} failed: {type(error).__name__}: {error}")
            note(f"Variation {number} failed and is left out.")
            continue
        yield clip
    job.report(1.0)


def first_take(job: Job, report: Callable[[float], None]) -> Take:
    """Sound that keeps the tempo asked for; or the first that was made, cut on that tempo's own grid."""
    bpm, longest, rate = job.request.bpm, job.request.duration, job.model.sample_rate
    assert bpm is not None, "the request was checked to have a tempo"
    seconds = longest * _SLOWER + grid.BEATS_PER_BAR * 60 / bpm + 2 * CONTEXT
    condition = job.condition()
    made = []
    for attempt in range(ATTEMPTS):
        seed = derive(job.seeds[0], "attempt", attempt) if attempt else job.seeds[0]
        progress = scaled(report, attempt / ATTEMPTS, (attempt + 1) / ATTEMPTS)
        frames = -(-round(seconds * rate) // job.model.hop)
        [tokens] = generate_tokens(job.model, lambda _: condition, None, frames, job.sampling, [seed], progress)
        sound = job.sound(tokens, seed)
        found = job.analysis.track(sound, rate, bpm)
        if cuts := grid.cuts(found, bpm, longest, sound.shape[1] / rate - CONTEXT):
            return _best([Take.of(sound, rate, bpm, cut) for cut in cuts[:_CANDIDATES]])
        heard = f"{found.tempo:.4g} bpm with confidence {found.confidence:.2f}" if len(found.beats) else "no beats"
        log(f"attempt {attempt + 1} of {ATTEMPTS} (seed {seed}) has no whole bars of {bpm:g} bpm: heard {heard}")
        made.append(sound)
    note(f"No attempt keeps {bpm:g} bpm, so the loop is cut on that tempo's own grid: its beats may be off.")
    sound = made[0]
    cuts = grid.own_grid(onsets.flux(sound, rate), onsets.HOP_SECONDS, bpm, longest, sound.shape[1] / rate - CONTEXT)
    return _best([Take.of(sound, rate, bpm, cut) for cut in cuts])


def _best(takes: Sequence[Take]) -> Take:
    """The take whose join stands out least among its beats."""
    return min(takes, key=lambda take: take.seam.excess)


def _continuations(
    job: Job, lead: np.ndarray, length: int, report: Callable[[float], None]
) -> Iterator[tuple[int, Callable[[], np.ndarray]]]:
    """For each variation its seed, and what gives its sound: `lead`, gone on from to at least `length` samples."""
    condition = job.condition()
    prompt = job.model.encode(torch.from_numpy(lead.copy()))

    def tokens(seeds: Sequence[int], report: Callable[[float], None]) -> list[torch.Tensor]:
        frames = -(-length // job.model.hop)
        return generate_tokens(job.model, lambda _: condition, prompt, frames, job.sampling, seeds, report)

    def alone(seed: int, report: Callable[[float], None]) -> np.ndarray:
        return job.sound(tokens([seed], report)[0], seed)

    others = job.seeds[1:]
    for begin in range(0, len(others), TOGETHER):
        seeds = others[begin : begin + TOGETHER]
        progress = scaled(report, begin / len(others), (begin + len(seeds)) / len(others))
        try:
            made = [partial(job.sound, clip, seed) for clip, seed in zip(tokens(seeds, progress), seeds, strict=True)]
        except Exception as error:
            log(f"{len(seeds)} variations at once failed, so each is made alone: {type(error).__name__}: {error}")
            made = [partial(alone, seed, progress) for seed in seeds]
        yield from zip(seeds, made, strict=True)
