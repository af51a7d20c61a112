"""How faithfully a checkpoint makes the music it is asked for, measured on seeds that were never trained on.

    python -m bench.fidelity --checkpoint demo
    python -m bench.fidelity --only beats rhythms chords --clips 100  # the readers of beats and chords; no checkpoint
    python -m bench.fidelity --only loops remixes --clips 100         # what becomes of known music; no checkpoint

Prints a table for people and, as its last line, the same figures as JSON.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

from bench import analysis, loops
from demo import measure
from demo.synth import HELD_BACK, SAMPLE_RATE, Song, Synthesiser
from musicgen_service.engine.interface import Condition, Sampling, SlotRequest
from musicgen_service.models.loading import load_model
from musicgen_service.models.musicgen import MusicGenModel
from musicgen_service.models.store import WeightStore

import numpy as np
import torch
from numpy.typing import NDArray

SECONDS = 10.0
GIVEN_SECONDS = 5.0  # what a continuation starts from
WITHIN = 0.04
Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    figure: str
    target: str
    met: bool
    numbers: dict[str, float]


class Bench:
    """Generates with one model at default sampling and keeps every clip, to look for collapses at the end."""

    def __init__(self, load: Callable[[], MusicGenModel], clips: int) -> None:
        self.load, self.clips = load, clips
        self.made: list[Audio] = []

    @cached_property
    def model(self) -> MusicGenModel:
        """The checkpoint, loaded by the first group that needs one."""
        return self.load()

    @cached_property
    def readings(self) -> dict[bool, list[analysis.Reading]]:
        """What was read from long clips, by whether there are drums."""
        found: dict[bool, list[analysis.Reading]] = {True: [], False: []}
        for song, drums in analysis.songs(self.clips, analysis.SECONDS):
            found[drums].append(analysis.read(song))
        return found

    def songs(self, group: int, wanted: Callable[[Song], bool] = lambda _song: True, **choices: object) -> list[Song]:
        """`clips` held-back songs in 4/4, other ones for each group: the first that are `wanted`."""
        seeds = itertools.count(HELD_BACK + 1_000_000 * group)
        make = partial(Synthesiser().song, seconds=SECONDS, beats_per_bar=4, **choices)  # type: ignore[arg-type]
        return list(itertools.islice(filter(wanted, map(make, seeds)), self.clips))

    @torch.no_grad()
    def play(
        self,
        prompts: Sequence[str | None],
        melodies: Sequence[Audio] | None = None,
        given: Sequence[Audio] | None = None,
    ) -> list[Audio]:
        """Clips for prompts, melodies to follow or music to go on from; a continuation's given part is cut off."""
        requests = []
        for index, prompt in enumerate(prompts):
            melody = torch.from_numpy(melodies[index])[None] if melodies else None
            tokens = self.model.encode(torch.from_numpy(given[index])[None]) if given else None
            seconds = SECONDS + (GIVEN_SECONDS if given else 0)
            requests.append(
                SlotRequest(
                    condition=Condition(prompt, melody),
                    prefix_tokens=tokens,
                    length=round(seconds * self.model.frame_rate),
                    sampling=Sampling(),
                    generator=torch.Generator(self.model.device).manual_seed(index),
                )
            )
        clips = []
        for tokens in self.model.generator.generate_many(requests, lambda _done, _of: None):
            audio: Audio = self.model.decode(tokens)[0].cpu().numpy()
            clips.append(audio[round(GIVEN_SECONDS * SAMPLE_RATE) :] if given else audio)
        self.made += clips
        return clips

    def round_trip(self, audio: Audio) -> tuple[Audio, NDArray[np.int64]]:
        """What the codec makes of a clip, and its codes ``[codebooks, frames]``."""
        codes = self.model.encode(torch.from_numpy(audio)[None])
        return self.model.decode(codes)[0].cpu().numpy()[: len(audio)], codes.cpu().numpy()


def _agreement(read: Sequence[float], wanted: Sequence[float]) -> tuple[float, float]:
    """Shares of tempi within 4 %, and of those an octave (a factor of two) off."""
    ratio = np.array(read) / np.array(wanted)
    met = np.abs(ratio - 1) < WITHIN
    octave = (np.abs(ratio - 2) < 2 * WITHIN) | (np.abs(ratio - 0.5) < 0.5 * WITHIN)
    return float(met.mean()), float(octave.mean())


def codec_rows(bench: Bench) -> list[Row]:
    """Round trips, and how evenly each codebook is used."""
    songs = bench.songs(0)
    trips = [bench.round_trip(song.audio) for song in songs]
    pairs = [(song.audio, trip[0]) for song, trip in zip(songs, trips, strict=True)]
    chroma = float(np.mean([measure.chroma_cosine(a, b) for a, b in pairs]))
    onset = float(np.mean([measure.onset_correlation(a, b) for a, b in pairs]))
    beat = [(a, b) for (a, b), song in zip(pairs, songs, strict=True) if song.stems["drums"].any()]
    kept, _ = _agreement([measure.tempo(b) for _, b in beat], [measure.tempo(a) for a, _ in beat])
    codes = np.concatenate([trip[1] for trip in trips], axis=1)
    size = bench.model.codec.cardinality
    perplexity = []
    for book in codes:
        share = np.bincount(book, minlength=size) / len(book)
        share = share[share > 0]
        perplexity.append(float(np.exp(-(share * np.log(share)).sum())))
    return [
        Row("codec: chroma cosine", f"{chroma:.3f}", ">= 0.95", chroma >= 0.95, {"chroma": chroma}),
        Row("codec: onset correlation", f"{onset:.3f}", ">= 0.90", onset >= 0.90, {"onset": onset}),
        Row("codec: tempo kept", f"{kept:.0%}", ">= 95 %", kept >= 0.95, {"tempo_kept": kept}),
        Row(
            f"codebook perplexities, of {size}",
            " ".join(f"{p:.0f}" for p in perplexity),
            f">= {size / 3:.0f}",
            min(perplexity) >= size / 3,
            {f"perplexity_{k}": p for k, p in enumerate(perplexity)},
        ),
    ]


def tempo_rows(bench: Bench) -> list[Row]:
    """Whether the tempo asked for is heard; the same reader's score on the songs themselves tells its own errors."""
    songs = bench.songs(1, drums=True)
    wanted = [song.bpm for song in songs]
    met, octave = _agreement([measure.tempo(clip) for clip in bench.play([s.caption for s in songs])], wanted)
    ceiling, _ = _agreement([measure.tempo(song.audio) for song in songs], wanted)
    figure = f"{met:.0%} (+ {octave:.0%} an octave off; reader on real songs {ceiling:.0%})"
    return [
        Row("tempo of the prompt", figure, ">= 80 %", met >= 0.8, {"tempo": met, "octave": octave, "reader": ceiling})
    ]


def drum_rows(bench: Bench) -> list[Row]:
    """Whether "no drums" has none: clips on the right side of the threshold that divides real songs."""
    captions = [(bench.songs(2, drums=drums), drums) for drums in (True, False)]
    real, made = {}, {}
    for songs, drums in captions:
        real[drums] = np.array([measure.onset_energy(song.audio) for song in songs])
        made[drums] = np.array([measure.onset_energy(clip) for clip in bench.play([s.caption for s in songs])])
    threshold = (np.median(real[True]) + np.median(real[False])) / 2
    right = float(((made[True] > threshold).mean() + (made[False] <= threshold).mean()) / 2)
    return [Row('"drums" against "no drums"', f"{right:.0%}", ">= 95 %", right >= 0.95, {"drums": right})]


def key_rows(bench: Bench) -> list[Row]:
    """Whether the key asked for is heard, and chords that change in it, as a drone keeps to any key."""
    songs = bench.songs(3, lambda song: song.key.lower() in song.caption)
    made, real = bench.play([song.caption for song in songs]), [song.audio for song in songs]

    def share(clips: Sequence[Audio]) -> float:
        names = [measure.key(clip) for clip in clips]
        hits = [name in (s.key, measure.relative_key(s.key)) for name, s in zip(names, songs, strict=True)]
        return float(np.mean(hits))

    met, ceiling = share(made), share(real)
    figure = f"{met:.0%} (reader on real songs {ceiling:.0%})"
    drones, usual = (float(np.mean([measure.longest_chord(clip) > 0.75 for clip in clips])) for clips in (made, real))
    return [
        Row("key of the prompt, or its relative", figure, ">= 70 %", met >= 0.7, {"key": met, "reader": ceiling}),
        Row(
            "one chord for over 3/4 of the clip",
            f"{drones:.0%} (real songs {usual:.0%})",
            "<= 10 %",
            drones <= 0.1,
            {"drones": drones, "real": usual},
        ),
    ]


def melody_rows(bench: Bench) -> list[Row]:
    """Whether a given lead is followed rather than another song's."""
    songs = bench.songs(4, lead=True)
    leads = [song.stems["lead"] for song in songs]
    clips = bench.play([song.caption for song in songs], melodies=leads)
    others = [(index + len(songs) // 3) % len(songs) for index in range(len(songs))]
    own = float(np.mean([measure.chroma_cosine(clip, lead) for clip, lead in zip(clips, leads, strict=True)]))
    other = float(np.mean([measure.chroma_cosine(clip, leads[o]) for clip, o in zip(clips, others, strict=True)]))
    ceiling = float(np.mean([measure.chroma_cosine(song.audio, song.stems["lead"]) for song in songs]))
    figure = f"{own:.2f}, {own / other:.1f}x another's {other:.2f} (real songs {ceiling:.2f})"
    numbers = {"melody": own, "other_melody": other, "real": ceiling}
    return [Row("melody: chroma cosine", figure, ">= 0.6 and 2x", own >= 0.6 and own >= 2 * other, numbers)]


def continuation_rows(bench: Bench) -> list[Row]:
    """Whether music goes on at its tempo, with the prompt and with nothing but the music."""
    songs = bench.songs(5, drums=True)
    given = [song.audio[: round(GIVEN_SECONDS * SAMPLE_RATE)] for song in songs]
    rows = []
    for name, prompts, target in (
        ("continuation keeps the tempo", [song.caption for song in songs], 0.8),
        ("continuation without a prompt", [None] * len(songs), 0.8),
    ):
        clips = bench.play(prompts, given=given)
        met, octave = _agreement([measure.tempo(clip) for clip in clips], [song.bpm for song in songs])
        figure = f"{met:.0%} (+ {octave:.0%} an octave off)"
        rows.append(Row(name, figure, f">= {target:.0%}", met >= target, {"tempo": met, "octave": octave}))
    return rows


def collapse_rows(bench: Bench) -> list[Row]:
    """Clips without music among all that were made."""
    collapsed = [why for why in map(measure.collapsed, bench.made) if why]
    figure = f"{len(collapsed)} of {len(bench.made)}"
    return [Row("silence or noise", figure, "none", not collapsed, {"collapsed": float(len(collapsed))})]


def beat_rows(bench: Bench) -> list[Row]:
    """How well beats are read from songs, and tempo and key from clips as short as the checkpoint's."""
    rows = []
    for name, field, target in (
        ("beats: F-measure (70 ms)", "beats", 0.90),
        ("downbeats: F-measure", "downbeats", 0.75),
        ("tempo within 1 %", "tempo", 0.90),
        ("tempo within 1 %, or an octave off", "tempo_octave", 0.98),
    ):
        rows.append(_reading_row(name, bench.readings, field, target))
    clips = list(analysis.songs(bench.clips, analysis.SHORT_SECONDS, analysis.FIRST_SEED + 1_000_000))
    short = {drums: [analysis.read(song) for song, has in clips if has == drums] for drums in (True, False)}
    for name, field, target in (
        ("10 s clips: tempo within 4 %", "tempo_4_percent", 0.95),
        ("10 s clips: key, or its relative", "key_or_relative", 0.90),
    ):
        rows.append(_reading_row(name, short, field, target))
    return rows


def rhythm_rows(bench: Bench) -> list[Row]:
    """How well beats are read where chords do not change with every bar; half as many clips of each kind."""
    rows = []
    for name, bars in (("chords of two bars", 2.0), ("two chords to a bar", 0.5)):
        found: dict[bool, list[analysis.Reading]] = {True: [], False: []}
        first = analysis.FIRST_SEED + (2_000_000 if bars == 2 else 3_000_000)
        for song, drums in analysis.songs(bench.clips // 2, analysis.SECONDS, first, bars):
            found[drums].append(analysis.read(song))
        for what, field, target in (
            ("beats", "beats", 0.90),
            ("downbeats", "downbeats", 0.75),
            ("tempo", "tempo", 0.80),
        ):
            rows.append(_reading_row(f"{name}: {what}", found, field, target))
    return rows


def _reading_row(name: str, readings: dict[bool, list[analysis.Reading]], field: str, target: float) -> Row:
    """A figure over all songs, and apart for those with and without drums."""
    value = analysis.mean(readings[True] + readings[False], field)
    parts = {drums: analysis.mean(readings[drums], field) for drums in readings}
    figure = f"{value:.3f} (drums {parts[True]:.3f}, no drums {parts[False]:.3f})"
    numbers = {field: value, "drums": parts[True], "no_drums": parts[False]}
    return Row(name, figure, f">= {target:.2f}", value >= target, numbers)


def chord_rows(bench: Bench) -> list[Row]:
    """How well chords are read from whole mixes."""
    return [_reading_row("chords: WCSR (maj/min)", bench.readings, "chords", 0.85)]


def loop_rows(bench: Bench) -> list[Row]:
    """How exact and seamless loops of known music are."""
    made = loops.loops(bench.clips)
    shares = {
        "exact to the sample": [m.exact for m in made],
        "no click at the seam": [m.jump < 1 for m in made],
        "join below the median beat": [m.join <= 1 for m in made],
        "boundary adds no onset": [m.boundary <= 1.1 * m.uncut for m in made],
        "begin on a downbeat": [m.on_downbeat for m in made],
        "at the first attempt": [m.first_attempt for m in made],
    }
    targets = (1.0, 1.0, 0.95, 0.95, 0.9, 0.9)
    rows = [
        _share_row(f"loops: {name}", hits, target) for (name, hits), target in zip(shares.items(), targets, strict=True)
    ]
    rows[1].numbers["worst"] = max(m.jump for m in made)
    # The file begins on a downbeat, which is stronger than most beats in uncut music as well.
    below = {which: float(np.mean([getattr(m, which) <= 1 for m in made])) for which in ("boundary", "uncut")}
    figure = f"{below['boundary']:.0%} (the music's own downbeats {below['uncut']:.0%})"
    met = below["boundary"] >= below["uncut"]
    return [*rows, Row("loops: boundary below median beat", figure, "the music's", met, below)]


def remix_rows(bench: Bench) -> list[Row]:
    """How close a backing's downbeats come to the song's."""
    before, after = (np.array(distances) for distances in loops.alignment(bench.clips))
    near, was = float((after < 0.02).mean()), float((before < 0.02).mean())
    figure = f"{near:.1%} of {len(after)} pairs (before {was:.1%}), median {1000 * np.median(after):.1f} ms"
    return [Row("remix: downbeats within 20 ms", figure, ">= 95 %", near >= 0.95, {"aligned": near, "before": was})]


def _share_row(name: str, hits: Sequence[bool], target: float) -> Row:
    share = float(np.mean(hits))
    return Row(name, f"{share:.1%} of {len(hits)}", f">= {target:.0%}", share >= target, {"share": share})


GROUPS: dict[str, Callable[[Bench], list[Row]]] = {
    "beats": beat_rows,
    "rhythms": rhythm_rows,
    "chords": chord_rows,
    "loops": loop_rows,
    "remixes": remix_rows,
    "codec": codec_rows,
    "tempo": tempo_rows,
    "drums": drum_rows,
    "key": key_rows,
    "melody": melody_rows,
    "continuation": continuation_rows,
    "collapse": collapse_rows,
}


def main() -> None:
    """Reads the command line and measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--clips", type=int, default=50, help="clips behind each figure")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = WeightStore(arguments.weights)
    bench = Bench(lambda: load_model(arguments.checkpoint, store, device), arguments.clips)
    figures = {}
    print(f"| {'':34} | {'measured':58} | {'target':13} | met |")
    print(f"|{'-' * 36}|{'-' * 60}|{'-' * 15}|-----|")
    for name in arguments.only:
        for row in GROUPS[name](bench):
            print(f"| {row.name:34} | {row.figure:58} | {row.target:13} | {'yes' if row.met else 'no':3} |", flush=True)
            figures[row.name] = {"met": row.met, **{k: round(v, 4) for k, v in row.numbers.items()}}
    print(json.dumps({"checkpoint": arguments.checkpoint, "clips": arguments.clips, "figures": figures}))


if __name__ == "__main__":
    main()
