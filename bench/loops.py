"""Exactness of loops and alignment of remixes, measured with synthesised songs in place of a model's output.

The songs have known grids and miss the requested tempo by up to 5 %; all processing after the model is measured.
"""

from dataclasses import dataclass

from bench.analysis import tracker
from demo.synth import HELD_BACK, SAMPLE_RATE, Song, Synthesiser
from musicgen_service.paths import loop
from musicgen_service.paths.alignment import Anchor, align, anchors
from tests.support.fake_music_model import FakeMusicModel, job_for, jump_at_the_seam

import numpy as np
from numpy.typing import NDArray

FIRST_SEED = HELD_BACK + 60_000_000
TEMPI = (40.0, 60.23, 87.5, 140.0, 174.0, 300.0)
_OFF = 0.05
_REMIX_SECONDS = 30.0
_THRESHOLD = 0.75
_CLICK = 64


@dataclass(frozen=True)
class LoopFigures:
    """Figures of one loop.

    Attributes
    ----------
    exact : whether it has round(beats * 60 / bpm * rate) samples
    jump : step from its last sample to its first, relative to the 99.9th percentile of its steps
    join : onset at the join, relative to the median beat's
    boundary, uncut : onset where the file's end meets its start, and that of the uncut music there, likewise relative
    first_attempt, on_downbeat : whether the first attempt succeeded; whether it begins within 30 ms of a downbeat
    """

    exact: bool
    jump: float
    join: float
    boundary: float
    uncut: float
    first_attempt: bool
    on_downbeat: bool


def loops(count: int) -> list[LoopFigures]:
    """Make `count` loops: half at the difficult `TEMPI`, half at tempi drawn from 60 to 180 bpm."""
    return [_loop(FIRST_SEED + index, TEMPI[index // 2 % len(TEMPI)] if index % 2 else None) for index in range(count)]


def _loop(seed: int, bpm: float | None) -> LoopFigures:
    random = np.random.default_rng(seed)
    off, start = 1 + random.uniform(-_OFF, _OFF), random.choice([0.0, random.uniform(0, 4)])
    bpm = bpm or round(random.uniform(60, 180), 2)
    # The synthesiser plays 60 to 180 bpm; other tempi are played at half or double the tempo.
    played = off * (2 * bpm if bpm < 60 else bpm / 2 if bpm > 180 else bpm)

    def play(attempt: int, seconds: float) -> NDArray[np.float32]:
        return Synthesiser().song(seed + attempt % 7, seconds, start=start, bpm=played, beats_per_bar=4).audio

    model = FakeMusicModel(play)
    take = loop.first_take(job_for(model, track=tracker(), task="loop", bpm=bpm, seed=7 * seed), lambda _share: None)
    bar = 240 / played * (0.5 if bpm > 180 else 1)
    late = (take.cut.start + start) % bar
    return LoopFigures(
        exact=take.loop.shape[1] == round(take.cut.beats * 60 / bpm * SAMPLE_RATE),
        jump=jump_at_the_seam(take.loop),
        join=take.seam.excess,
        boundary=take.seam.boundary / max(take.seam.beat, 1e-9),
        uncut=take.seam.uncut / max(take.seam.beat, 1e-9),
        first_attempt=len(model.asked) == 1,
        on_downbeat=bool(min(late, bar - late) < 0.03),
    )


def alignment(count: int) -> tuple[list[float], list[float]]:
    """Distances in seconds of a backing's true downbeats from the song's true ones, before and after alignment.

    Only matched pairs count; grids are analysed from the audio, as in a remix.
    """
    before, after = [], []
    for index in range(count):
        seed = FIRST_SEED + 1_000_000 + index
        random = np.random.default_rng(seed)
        song = Synthesiser().song(seed, _REMIX_SECONDS, start=random.uniform(0, 4), beats_per_bar=4, drums=True)
        tempo = song.bpm * (1 + random.uniform(-_OFF, _OFF) / 2)
        backing = Synthesiser().song(
            seed + 500_000, _REMIX_SECONDS + 1, start=random.uniform(0, 4), bpm=tempo, beats_per_bar=4, drums=True
        )
        moves = _moves(song, backing)
        marks = np.zeros((1, backing.audio.size), np.float32)
        for time in backing.downbeats:
            at = round(time * SAMPLE_RATE)
            marks[0, at : at + _CLICK] = np.hanning(_CLICK)[: marks.shape[1] - at]
        moved = align(marks, SAMPLE_RATE, moves, song.audio.size)[0]
        for move in moves:
            true = backing.downbeats[np.abs(backing.downbeats - move.source).argmin()]
            if move.target != move.source and abs(true - move.source) < 0.07:
                first = max(0, round((move.target - 0.1) * SAMPLE_RATE))
                near = moved[first : first + round(0.2 * SAMPLE_RATE)]
                landed = (first + int(np.argmax(near)) - _CLICK / 2) / SAMPLE_RATE
                before.append(float(np.abs(song.downbeats - true).min()))
                after.append(float(np.abs(song.downbeats - landed).min()))
    return before, after


def _moves(song: Song, backing: Song) -> list[Anchor]:
    grid = tracker()(song.audio, SAMPLE_RATE, None)
    backing_grid = tracker()(backing.audio, SAMPLE_RATE, grid.tempo or None)
    return anchors(backing_grid.downbeats, grid.downbeats, _THRESHOLD)
