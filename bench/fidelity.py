"""Fidelity of a checkpoint to its prompts, measured with seeds that were never trained on.

    python -m bench.fidelity --checkpoint demo
    python -m bench.fidelity --only beats rhythms chords --clips 100  # beat and chord analysis; no checkpoint
    python -m bench.fidelity --only loops remixes --clips 100         # processing of known music; no checkpoint

Prints a table and, as its last line, the same figures as JSON.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import progression_rows, repaint_rows, section_rows
from bench.analysis_rows import beat_rows, chord_rows, loop_rows, remix_rows, rhythm_rows
from bench.fidelity_bench import CONTEXT_SECONDS, Audio, Bench, Row
from demo import measure
from demo.synth import SAMPLE_RATE
from musicgen_service.models.loading import load_model
from musicgen_service.models.store import WeightStore

import numpy as np
import torch

TOLERANCE = 0.04


def _agreement(read: Sequence[float], targets: Sequence[float]) -> tuple[float, float]:
    """Share of tempi within 4 %, and share that are an octave (a factor of two) off."""
    ratio = np.array(read) / np.array(targets)
    met = np.abs(ratio - 1) < TOLERANCE
    octave = (np.abs(ratio - 2) < 2 * TOLERANCE) | (np.abs(ratio - 0.5) < 0.5 * TOLERANCE)
    return float(met.mean()), float(octave.mean())


def codec_rows(bench: Bench) -> list[Row]:
    """Accuracy of codec round trips, and perplexity of each codebook."""
    songs = bench.songs(0)
    trips = [bench.round_trip(song.audio) for song in songs]
    pairs = [(song.audio, trip[0]) for song, trip in zip(songs, trips, strict=True)]
    chroma = float(np.mean([measure.chroma_cosine(a, b) for a, b in pairs]))
    onset = float(np.mean([measure.onset_correlation(a, b) for a, b in pairs]))
    beat = [(a, b) for (a, b), song in zip(pairs, songs, strict=True) if song.stems["drums"].any()]
    kept, _ = _agreement([measure.tempo(b) for _, b in beat], [measure.tempo(a) for a, _ in beat])
    codes = np.concatenate([trip[1] for trip in trips], axis=1)
    size = bench.model.config.decoder.card
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
    """Tempo accuracy; the analysis of the original songs shows its own errors."""
    songs = bench.songs(1, drums=True)
    targets = [song.bpm for song in songs]
    met, octave = _agreement([measure.tempo(clip) for clip in bench.generate([s.caption for s in songs])], targets)
    ceiling, _ = _agreement([measure.tempo(song.audio) for song in songs], targets)
    figure = f"{met:.0%} (+ {octave:.0%} an octave off; reader on real songs {ceiling:.0%})"
    return [
        Row("tempo of the prompt", figure, ">= 80 %", met >= 0.8, {"tempo": met, "octave": octave, "reader": ceiling})
    ]


def drum_rows(bench: Bench) -> list[Row]:
    """Whether "no drums" has none: share of clips on the right side of a threshold from real songs."""
    captions = [(bench.songs(2, drums=drums), drums) for drums in (True, False)]
    real, generated = {}, {}
    for songs, drums in captions:
        real[drums] = np.array([measure.onset_energy(song.audio) for song in songs])
        generated[drums] = np.array([measure.onset_energy(clip) for clip in bench.generate([s.caption for s in songs])])
    threshold = (np.median(real[True]) + np.median(real[False])) / 2
    right = float(((generated[True] > threshold).mean() + (generated[False] <= threshold).mean()) / 2)
    return [Row('"drums" against "no drums"', f"{right:.0%}", ">= 95 %", right >= 0.95, {"drums": right})]


def key_rows(bench: Bench) -> list[Row]:
    """Key accuracy, and whether chords change, since a drone fits any key."""
    songs = bench.songs(3, lambda song: song.key.lower() in song.caption)
    generated, real = bench.generate([song.caption for song in songs]), [song.audio for song in songs]

    def share(clips: Sequence[Audio]) -> float:
        names = [measure.key(clip) for clip in clips]
        hits = [name in (s.key, measure.relative_key(s.key)) for name, s in zip(names, songs, strict=True)]
        return float(np.mean(hits))

    met, ceiling = share(generated), share(real)
    figure = f"{met:.0%} (reader on real songs {ceiling:.0%})"
    drones, usual = (
        float(np.mean([measure.longest_chord(clip) > 0.75 for clip in clips])) for clips in (generated, real)
    )
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
    """Whether a clip follows its melody input rather than another song's melody."""
    songs = bench.songs(4, lead=True)
    leads = [song.stems["lead"] for song in songs]
    clips = bench.generate([song.caption for song in songs], melodies=leads)
    others = [(index + len(songs) // 3) % len(songs) for index in range(len(songs))]
    own = float(np.mean([measure.chroma_cosine(clip, lead) for clip, lead in zip(clips, leads, strict=True)]))
    other = float(np.mean([measure.chroma_cosine(clip, leads[o]) for clip, o in zip(clips, others, strict=True)]))
    ceiling = float(np.mean([measure.chroma_cosine(song.audio, song.stems["lead"]) for song in songs]))
    figure = f"{own:.2f}, {own / other:.1f}x another's {other:.2f} (real songs {ceiling:.2f})"
    numbers = {"melody": own, "other_melody": other, "real": ceiling}
    return [Row("melody: chroma cosine", figure, ">= 0.6 and 2x", own >= 0.6 and own >= 2 * other, numbers)]


def continuation_rows(bench: Bench) -> list[Row]:
    """Whether a continuation keeps the tempo, with and without a prompt."""
    songs = bench.songs(5, drums=True)
    contexts = [song.audio[: round(CONTEXT_SECONDS * SAMPLE_RATE)] for song in songs]
    rows = []
    for name, prompts, target in (
        ("continuation keeps the tempo", [song.caption for song in songs], 0.8),
        ("continuation without a prompt", [None] * len(songs), 0.8),
    ):
        clips = bench.generate(prompts, contexts=contexts)
        met, octave = _agreement([measure.tempo(clip) for clip in clips], [song.bpm for song in songs])
        figure = f"{met:.0%} (+ {octave:.0%} an octave off)"
        rows.append(Row(name, figure, f">= {target:.0%}", met >= target, {"tempo": met, "octave": octave}))
    return rows


def collapse_rows(bench: Bench) -> list[Row]:
    """Silent and noisy clips among all generated ones."""
    collapsed = [why for why in map(measure.collapsed, bench.generated) if why]
    figure = f"{len(collapsed)} of {len(bench.generated)}"
    return [Row("silence or noise", figure, "none", not collapsed, {"collapsed": float(len(collapsed))})]


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
    "progressions": progression_rows.rows,
    "sections": section_rows.rows,
    "repaints": repaint_rows.rows,
    "collapse": collapse_rows,
}


def main() -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="demo")
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--clips", type=int, default=50, help="clips behind each figure")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=list(GROUPS))
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    store = WeightStore(arguments.weights)
    bench = Bench(lambda: load_model(store.checkpoint(arguments.checkpoint), device), arguments.clips)
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
