"""Whether clips are played on the chords that are asked for, and at their tempo."""

from bench import analysis
from bench.fidelity_bench import Bench, Row
from demo import measure
from demo.synth import SAMPLE_RATE, Song
from musicgen_service.analysis import chords
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.paths import progressions
from musicgen_service.requests import chord_text
from musicgen_service.requests.time_signature import COMMON

import numpy as np
import torch

SECONDS = 12.0
_BARS = 4
_SHUFFLES = 10
_TEMPO_TOLERANCE = 0.04


def rows(bench: Bench, coefficient: float = 1.0, guidance: float = 3.0) -> list[Row]:
    """Chords that are heard in clips, compared with those asked for, and with the same ones in another order."""
    songs = bench.songs(6, lambda song: len(set(of_song(song))) > 1, drums=True)
    asked = [_segments(of_song(song), song.bpm) for song in songs]
    span = bench.model.melody_span
    assert span is not None, "the checkpoint takes chords"
    chromas = [torch.from_numpy(chords.chroma(segments, *span, coefficient)) for segments in asked]
    clips = bench.generate([song.caption for song in songs], chromas=chromas, seconds=SECONDS, guidance=guidance)
    own, other = [], []
    for number, (song, clip) in enumerate(zip(songs, clips, strict=True)):
        grid = analysis.tracker()(clip, SAMPLE_RATE, None)
        heard = analysis.recogniser()(clip, SAMPLE_RATE, grid).chords
        own.append(analysis.chord_score(_cut(asked[number]), heard))
        random = np.random.default_rng(number)
        for _ in range(_SHUFFLES):
            shuffled = [str(label) for label in random.permutation(of_song(song))]
            other.append(analysis.chord_score(_cut(_segments(shuffled, song.bpm)), heard))
    kept = float(
        np.mean([abs(measure.tempo(clip) / s.bpm - 1) < _TEMPO_TOLERANCE for clip, s in zip(clips, songs, strict=True)])
    )
    score, shuffled_score = float(np.mean(own)), float(np.mean(other))
    ceiling = float(np.mean([analysis.read(song).chords for song in songs]))
    figure = (
        f"{score:.2f}, {score / shuffled_score:.1f}x shuffled ones' {shuffled_score:.2f} (real songs {ceiling:.2f})"
    )
    numbers = {"chords": score, "shuffled": shuffled_score, "real": ceiling}
    return [
        Row(
            "chords asked for: WCSR (maj/min)",
            figure,
            ">= 0.65, 2.5x",
            score >= max(0.65, 2.5 * shuffled_score),
            numbers,
        ),
        Row("chord clips: tempo within 4 %", f"{kept:.0%}", ">= 85 %", kept >= 0.85, {"tempo": kept}),
    ]


def of_song(song: Song) -> list[str]:
    """The chords of a song's first bars."""
    return [chord.label for chord in song.chords[:_BARS]]


def _segments(labels: list[str], bpm: float) -> list[ChordSegment]:
    """A progression in bars of 4/4, for as long as the model attends to."""
    timeline = progressions.bars(chord_text.read(" ".join(labels)), COMMON.bar_seconds(bpm))
    return timeline(0.0, 30.0)


def _cut(segments: list[ChordSegment]) -> list[ChordSegment]:
    return [segment._replace(end=min(segment.end, SECONDS)) for segment in segments if segment.start < SECONDS]
