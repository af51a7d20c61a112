"""Rows of the fidelity benchmark on repainting: whether the candidate that is kept joins better than others."""

from collections.abc import Sequence

from bench.fidelity_bench import Bench, Row
from demo.synth import SAMPLE_RATE
from musicgen_service.analysis import onsets
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths import repaint, windows
from musicgen_service.paths.repaint import Region

import numpy as np
import torch

_START, _END = 4.0, 6.5
"""Seconds of the part that is repainted."""


def rows(bench: Bench) -> list[Row]:
    """Whether the candidate that is kept joins better than another one, which is compared with each of the others.

    The seam is where the repainted part ends: the candidates begin alike. Flux is the strongest onset there; the tempo
    goes on where onsets within the part are on the beats of the song.
    """
    model = bench.model
    start, end = (round(seconds * model.frame_rate) for seconds in (_START, _END))
    fluxes, tempi = [], []
    for index, song in enumerate(bench.songs(7, drums=True)):
        before, following = (
            model.encode(torch.from_numpy(song.audio[None, first * model.hop : last * model.hop]))
            for first, last in ((0, start), (end, len(song.audio) // model.hop))
        )
        condition = Condition(song.caption)
        seeds = [repaint.CANDIDATES * index + number for number in range(repaint.CANDIDATES)]
        candidates = _candidates(model, condition, before, end, seeds)
        region = Region(start, end, start, following.shape[-1])
        kept = repaint.best(model, condition, candidates, region, following, song.beats)
        clips = [model.decode(torch.cat([tokens, following], dim=-1))[0].cpu().numpy() for tokens in candidates]
        bench.generated += clips
        flux = [float(onsets.peaks(clip[None], SAMPLE_RATE, [round(_END * SAMPLE_RATE)])[0]) for clip in clips]
        parts = [clip[None, round(_START * SAMPLE_RATE) : round(_END * SAMPLE_RATE)] for clip in clips]
        on_beats = [repaint.share_on_beats(part, SAMPLE_RATE, song.beats - _START) for part in parts]
        fluxes.append(_better(-np.array(flux), kept))
        tempi.append(_better(np.array(on_beats), kept))
    seam, tempo = float(np.mean(fluxes)), float(np.mean(tempi))
    return [
        Row("repaint: less flux at the seam", f"{seam:.0%} of others", ">= 80 %", seam >= 0.8, {"seam": seam}),
        Row("repaint: the tempo goes on better", f"{tempo:.0%} of others", ">= 80 %", tempo >= 0.8, {"tempo": tempo}),
    ]


def _candidates(
    model: MusicModel, condition: Condition, before: torch.Tensor, length: int, seeds: Sequence[int]
) -> list[torch.Tensor]:
    return windows.generate_tokens(model, lambda _: condition, before, length, Sampling(), seeds, lambda _: None)


def _better(values: np.ndarray, kept: int) -> float:
    """Share of the others that are lower than the kept one."""
    others = np.delete(values, kept)
    return float((others < values[kept]).mean())
