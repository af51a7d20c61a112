"""Rows of the fidelity benchmark on the form of a piece: sections with words of their own, and repainted parts."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.fidelity_bench import Audio, Bench, Row
from demo import measure
from demo.synth import SAMPLE_RATE, Song
from demo.synth.styles import NOTE_NAMES
from musicgen_service.analysis import onsets
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.models.music_model import MusicModel
from musicgen_service.paths import repaint, windows
from musicgen_service.paths.repaint import Region
from musicgen_service.paths.windows import Wording

import numpy as np
import torch

_SECTION = 6.0
"""Seconds of each of two sections."""
_STEPS = (1, 2, 4, 6, 8, 10, 11)
"""Semitones to another key: neither it nor its relative is the one before."""
_START, _END = 4.0, 6.5
"""Seconds of the part that is repainted."""
_THREADS = 8


def section_rows(bench: Bench) -> list[Row]:
    """Whether a change of drums and of key is heard from one bar after the start of the second section."""
    songs = bench.songs(6, lambda song: song.key.lower() in song.caption, drums=True)
    real = {
        drums: [measure.onset_energy(song.audio) for song in bench.songs(2, drums=drums)] for drums in (True, False)
    }
    threshold = (np.median(real[True]) + np.median(real[False])) / 2
    prompts = [f"{song.bpm:g} bpm, {song.style} piano" for song in songs]
    in_key = [f"{prompt}, {song.key.lower()}" for prompt, song in zip(prompts, songs, strict=True)]
    clips = _in_two_sections(
        bench,
        [f"{prompt}, with drums" for prompt in in_key],
        [(f"{prompt}, no drums", "drums") for prompt in in_key],
    )
    changed = [
        measure.onset_energy(before) > threshold >= measure.onset_energy(after)
        for before, after in map(_around_border, clips, songs)
    ]
    keys = [_another_key(song.key, index) for index, song in enumerate(songs)]
    clips = _in_two_sections(
        bench,
        [f"{prompt}, with drums, {song.key.lower()}" for prompt, song in zip(prompts, songs, strict=True)],
        [(f"{prompt}, with drums, {key.lower()}", None) for prompt, key in zip(prompts, keys, strict=True)],
    )
    modulated = [
        measure.key(_around_border(clip, song)[1]) in (key, measure.relative_key(key))
        for clip, song, key in zip(clips, songs, keys, strict=True)
    ]
    drums, key = float(np.mean(changed)), float(np.mean(modulated))
    return [
        Row("a second section denies drums", f"{drums:.0%}", ">= 90 %", drums >= 0.9, {"drums": drums}),
        Row("a second section changes key", f"{key:.0%}", ">= 70 %", key >= 0.7, {"key": key}),
    ]


def _in_two_sections(bench: Bench, first: Sequence[str], second: Sequence[tuple[str, str | None]]) -> list[Audio]:
    """Generate a clip of two sections for each pair of texts."""
    model = bench.model
    border = round(_SECTION * model.frame_rate)

    def clip(index: int) -> Audio:
        wordings = Wording(0, first[index], None), Wording(border, *second[index])
        [tokens] = windows.generate_tokens(
            model, lambda _: Condition(), None, 2 * border, Sampling(), [index], lambda _: None, wordings
        )
        audio: Audio = model.decode(tokens)[0].cpu().numpy()
        return audio

    with ThreadPoolExecutor(_THREADS) as pool:  # they share the steps
        clips = list(pool.map(clip, range(len(first))))
    bench.generated += clips
    return clips


def _around_border(clip: Audio, song: Song) -> tuple[Audio, Audio]:
    """The first section, and the second from one bar after its start."""
    border, bar = round(_SECTION * SAMPLE_RATE), round(4 * 60 / song.bpm * SAMPLE_RATE)
    return clip[:border], clip[border + bar :]


def _another_key(name: str, index: int) -> str:
    tonic, mode = name.split()
    return f"{NOTE_NAMES[(NOTE_NAMES.index(tonic) + _STEPS[index % len(_STEPS)]) % 12]} {mode}"


def repaint_rows(bench: Bench) -> list[Row]:
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
