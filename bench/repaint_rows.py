"""Rows of the fidelity benchmark on repainting: whether the candidate that is kept joins better than others."""

from collections.abc import Sequence

from bench.fidelity_bench import Bench, Row
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths import candidates, windows
from musicgen_service.paths.candidates import Surroundings

import numpy as np
import torch

_START, _END = 4.0, 6.5
"""Seconds of the part that is repainted."""


def rows(bench: Bench) -> list[Row]:
    """Compare the candidate that is kept, as it is joined, with each of the others, joined at the end of the part.

    Flux is the sum of the strongest onsets at both seams; the tempo goes on where onsets within the part are on the
    beats of the song.
    """
    model = bench.model
    start, end = (round(seconds * model.frame_rate) for seconds in (_START, _END))
    early = candidates.reach(end - start)
    seams, at_end, tempi = [], [], []
    for index, song in enumerate(bench.songs(7, drums=True)):
        before, following = (
            model.encode(torch.from_numpy(song.audio[None, first * model.hop : last * model.hop]))
            for first, last in ((0, start), (end - early, len(song.audio) // model.hop))
        )
        condition, around = Condition(song.caption), Surroundings(start, early, following, song.beats)
        seeds = [candidates.COUNT * index + number for number in range(candidates.COUNT)]
        made = _candidates(model, condition, before, end, seeds)
        kept, join = candidates.best(model, condition, made, around)
        bench.generated += [model.decode(around.joined(tokens, 0))[0].cpu().numpy() for tokens in made]
        ends = np.array([candidates.join_flux(model, tokens, around, 0) for tokens in made])
        starts = np.array([candidates.start_flux(model, tokens, around) for tokens in made])
        at_end.append((join.flux, ends.mean()))
        seams.append(_better(starts + ends, kept, starts[kept] + join.flux))
        on_beats = np.array([candidates.on_beat(model, tokens, around) for tokens in made])
        tempi.append(_better(-on_beats, kept, -on_beats[kept]))
    seam, tempo = float(np.mean(seams)), float(np.mean(tempi))
    flux, others = np.mean(at_end, axis=0)
    figure = f"{seam:.0%} of others (at the end {flux:.2f}, any one {others:.2f} dB)"
    numbers = {"seam": seam, "flux": float(flux), "flux_of_any": float(others)}
    return [
        Row("repaint: less flux at the seams", figure, ">= 80 %", seam >= 0.8, numbers),
        Row("repaint: the tempo goes on better", f"{tempo:.0%} of others", ">= 80 %", tempo >= 0.8, {"tempo": tempo}),
    ]


def _candidates(
    model: MusicModel, condition: Condition, before: torch.Tensor, length: int, seeds: Sequence[int]
) -> list[torch.Tensor]:
    return windows.generate_tokens(model, lambda _: condition, before, length, Sampling(), seeds, lambda _: None)


def _better(values: np.ndarray, kept: int, value: float) -> float:
    """Share of the others that are higher than the value of the kept one."""
    return float((np.delete(values, kept) > value).mean())
