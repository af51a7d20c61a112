"""Rows of the fidelity benchmark on sections: words and chords of their own, heard from where they start."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench import analysis, progression_rows
from bench.fidelity_bench import Audio, Bench, Row
from demo import measure
from demo.synth import SAMPLE_RATE, Song
from demo.synth.styles import NOTE_NAMES
from musicgen_service.analysis import chords
from musicgen_service.analysis.chords import ChordSegment
from musicgen_service.engine.interface import Condition, Sampling
from musicgen_service.paths import progressions, windows
from musicgen_service.paths.progressions import Timeline
from musicgen_service.paths.windows import Wording
from musicgen_service.requests import chord_text
from musicgen_service.requests.time_signature import COMMON

import numpy as np
import torch

_SECTION = 6.0
"""Seconds of each of two sections."""
_STEPS = (1, 2, 4, 6, 8, 10, 11)
"""Semitones to another key: neither it nor its relative is the one before."""
_SAME = 0.001
"""Seconds beyond which a chord at the same time is not the rounding of a bar."""
_HEARD = 0.5
"""Share of the time in which chords are right when a change to them is heard."""
_THREADS = 8


def rows(bench: Bench) -> list[Row]:
    """Whether a change is heard from one bar after the start of the second section."""
    return [*_word_rows(bench), _chord_row(bench)]


def _word_rows(bench: Bench) -> list[Row]:
    """Drums that the words of a section deny, and a key that they change."""
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


def _chord_row(bench: Bench) -> Row:
    """Chords of a section of its own: at any time others of the same key than if those before went on."""
    songs = bench.songs(8, lambda song: _other_order(song) is not None, drums=True)
    span = bench.model.melody_span
    assert span is not None, "the checkpoint takes chords"
    kept, changed = [], []
    for song in songs:
        before, after = (_timeline(order, song) for order in (progression_rows.of_song(song), _other_order(song) or ()))
        kept.append(before)
        changed.append(progressions.joined(before, _SECTION, after))

    def condition_at(index: int, frame: int) -> Condition:
        segments = changed[index](frame / bench.model.frame_rate, span.seconds)
        return Condition(chroma=torch.from_numpy(chords.chroma(segments, *span)))

    prompts = [f"{song.bpm:g} bpm, {song.style} piano, with drums" for song in songs]
    clips = _in_two_sections(bench, prompts, [(prompt, None) for prompt in prompts], condition_at)
    scores = []
    for clip, song, *timelines in zip(clips, songs, changed, kept, strict=True):
        heard = analysis.recogniser()(clip, SAMPLE_RATE, analysis.tracker()(clip, SAMPLE_RATE, None)).chords
        start = _SECTION + COMMON.bar_seconds(song.bpm)
        asked = [_from(start, timeline(0.0, 2 * _SECTION)) for timeline in timelines]
        scores.append([analysis.chord_score(segments, heard) for segments in asked])
    new, old = np.array(scores).T
    share = float(((new > old) & (new >= _HEARD)).mean())
    figure = f"{share:.0%} (right {new.mean():.2f} of the time, as before {old.mean():.2f})"
    numbers = {"chords": share, "right": float(new.mean()), "as_before": float(old.mean())}
    return Row("a second section changes chords", figure, ">= 80 %", share >= 0.8, numbers)


def _timeline(labels: Sequence[str], song: Song) -> Timeline:
    return progressions.bars(chord_text.read(" ".join(labels)), COMMON.bar_seconds(song.bpm))


def _from(start: float, segments: Sequence[ChordSegment]) -> list[ChordSegment]:
    return [segment._replace(start=max(segment.start, start)) for segment in segments if segment.end > start]


def _other_order(song: Song) -> list[str] | None:
    """A song's chords in another order, of which none sounds when it would sound if those before went on; None if none.

    The second section need not start with a bar of the first, so bars cannot be compared one by one.
    """
    labels = progression_rows.of_song(song)
    kept = _timeline(labels, song)(_SECTION, _SECTION)
    turned = ([*labels[by:], *labels[:by]] for by in range(1, len(labels)))
    return next((order for order in turned if not _agree(kept, _timeline(order, song)(0.0, _SECTION))), None)


def _agree(some: Sequence[ChordSegment], others: Sequence[ChordSegment]) -> bool:
    """Whether two progressions have the same chord at any time."""
    return any(
        one.label == other.label and min(one.end, other.end) - max(one.start, other.start) > _SAME
        for one in some
        for other in others
    )


def _in_two_sections(
    bench: Bench,
    first: Sequence[str],
    second: Sequence[tuple[str, str | None]],
    condition_at: Callable[[int, int], Condition] = lambda _index, _frame: Condition(),
) -> list[Audio]:
    """Generate a clip of two sections for each pair of texts; `condition_at` has what else each is told at a frame."""
    model = bench.model
    border = round(_SECTION * model.frame_rate)

    def clip(index: int) -> Audio:
        wordings = Wording(0, first[index], None), Wording(border, *second[index])
        [tokens] = windows.generate_tokens(
            model,
            lambda frame: condition_at(index, frame),
            None,
            2 * border,
            Sampling(),
            [index],
            lambda _: None,
            wordings,
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
