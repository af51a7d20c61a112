"""Figures that need no checkpoint: accuracy of analysis, loops and remix alignment on known music."""

from collections.abc import Sequence

from bench import analysis, loop_files, loops
from bench.fidelity_bench import Bench, Row

import numpy as np


def beat_rows(bench: Bench) -> list[Row]:
    """Accuracy of beats on songs, and of tempo and key on clips as short as the checkpoint's."""
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
    """Accuracy of beats where chords do not change with every bar; half as many clips of each kind."""
    rows = []
    for name, bars in (("chords of two bars", 2.0), ("two chords to a bar", 0.5)):
        scores: dict[bool, list[analysis.Reading]] = {True: [], False: []}
        first = analysis.FIRST_SEED + (2_000_000 if bars == 2 else 3_000_000)
        for song, drums in analysis.songs(bench.clips // 2, analysis.SECONDS, first, bars):
            scores[drums].append(analysis.read(song))
        for what, field, target in (
            ("beats", "beats", 0.90),
            ("downbeats", "downbeats", 0.75),
            ("tempo", "tempo", 0.80),
        ):
            rows.append(_reading_row(f"{name}: {what}", scores, field, target))
    return rows


def _reading_row(name: str, readings: dict[bool, list[analysis.Reading]], field: str, target: float) -> Row:
    """A figure over all songs, and separately for those with and without drums."""
    value = analysis.mean(readings[True] + readings[False], field)
    parts = {drums: analysis.mean(readings[drums], field) for drums in readings}
    figure = f"{value:.3f} (drums {parts[True]:.3f}, no drums {parts[False]:.3f})"
    numbers = {field: value, "drums": parts[True], "no_drums": parts[False]}
    return Row(name, figure, f">= {target:.2f}", value >= target, numbers)


def chord_rows(bench: Bench) -> list[Row]:
    """Accuracy of chords on full mixes."""
    return [_reading_row("chords: WCSR (maj/min)", bench.readings, "chords", 0.85)]


def loop_rows(bench: Bench) -> list[Row]:
    """Exactness and seamlessness of loops of known music."""
    figures = loops.loops(bench.clips)
    shares = {
        "exact to the sample": [m.exact for m in figures],
        "no click at the seam": [m.jump < 1 for m in figures],
        "join below the median beat": [m.join <= 1 for m in figures],
        "boundary adds no onset": [m.boundary <= 1.1 * m.uncut for m in figures],
        "begin on a downbeat": [m.on_downbeat for m in figures],
        "at the first attempt": [m.first_attempt for m in figures],
    }
    targets = (1.0, 1.0, 0.95, 0.95, 0.9, 0.9)
    rows = [
        _share_row(f"loops: {name}", hits, target) for (name, hits), target in zip(shares.items(), targets, strict=True)
    ]
    rows[1].numbers["worst"] = max(m.jump for m in figures)
    # The file begins on a downbeat, which is stronger than most beats in uncut music as well.
    below = {which: float(np.mean([getattr(m, which) <= 1 for m in figures])) for which in ("boundary", "uncut")}
    figure = f"{below['boundary']:.0%} (the music's own downbeats {below['uncut']:.0%})"
    met = below["boundary"] >= below["uncut"]
    return [*rows, Row("loops: boundary below median beat", figure, "the music's", met, below), _loop_file_row(bench)]


def _loop_file_row(bench: Bench) -> Row:
    """What readers of our own, which know the formats alone, find in the files of loops."""
    files = loop_files.opened(bench.clips)
    shares = {
        name: float(np.mean([getattr(file, name) for file in files])) for name in ("tempo", "beats", "points", "key")
    }
    true = [file.true_key for file in files if file.true_key is not None]
    figure = f"{min(shares.values()):.1%} of {len(files)} in 4 formats (key heard in {len(true)}, right in {sum(true)})"
    met = min(shares.values()) == 1
    numbers = shares | {"keys": float(len(true)), "right_keys": float(sum(true))}
    return Row("loops: tempo, beats, points, key read", figure, ">= 100%", met, numbers)


def remix_rows(bench: Bench) -> list[Row]:
    """Distance of a backing's downbeats from the song's."""
    before, after = (np.array(distances) for distances in loops.alignment(bench.clips))
    near, near_before = float((after < 0.02).mean()), float((before < 0.02).mean())
    figure = f"{near:.1%} of {len(after)} pairs (before {near_before:.1%}), median {1000 * np.median(after):.1f} ms"
    return [
        Row("remix: downbeats within 20 ms", figure, ">= 95 %", near >= 0.95, {"aligned": near, "before": near_before})
    ]


def _share_row(name: str, hits: Sequence[bool], target: float) -> Row:
    share = float(np.mean(hits))
    return Row(name, f"{share:.1%} of {len(hits)}", f">= {target:.0%}", share >= target, {"share": share})
