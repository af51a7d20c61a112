"""Songs with a trait that the demo checkpoint was never trained on, and how much of it is heard in a clip."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from demo.measure import onsets
from demo.synth import FRAME, HELD_BACK, SAMPLE_RATE, Song, Synthesiser
from demo.synth.styles import Trait
from musicgen_service.analysis.chords import recognise

import librosa
import mir_eval
import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, find_peaks, sosfilt

SECONDS = 20.0
_TEMPI = (90.0, 95.0, 100.0, 105.0, 110.0, 115.0, 120.0)
_STEPS = 16  # of a bar
_LOW = 110.0  # Hz, below which a bass is heard and little else
_HIGH = 6000.0  # Hz, above which snares and hats are heard and little else
_HOP = 320  # samples, 10 ms, between measurements of what is that high
_WEAKEST = 0.15  # of the strongest onset
_SHORTEST_GAP = 0.05  # seconds between onsets
_TOLERANCE = 0.03  # seconds: a sixteenth lasts 125 ms at 120 bpm

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Style:
    """A trait, and how songs and prompts of it are made.

    Attributes
    ----------
    drums : whether the songs have them
    is_low : whether the trait's rhythm is that of low notes
    first_seed : of its songs
    """

    name: str
    trait: Trait
    drums: bool
    is_low: bool
    first_seed: int

    def song(self, number: int) -> Song:
        """One of its songs, in A minor at one of a few tempi."""
        return self._song(number, self.trait)

    def song_without_trait(self, number: int) -> Song:
        """The same song as its musical style has it."""
        return self._song(number, None)

    def _song(self, number: int, trait: Trait | None) -> Song:
        random = np.random.default_rng(number)
        make = Synthesiser(snap=True).song
        seed = HELD_BACK + self.first_seed + number
        bpm = float(random.choice(_TEMPI))
        return make(seed, SECONDS, bpm=bpm, key=9, mode="minor", drums=self.drums, beats_per_bar=4, trait=trait)


STYLES = (
    Style(
        "drums and chords",
        Trait(("...x..x..x..x...", ".....x.......x..", ".x.x.x.x.x.x.x.x"), (5, 2, 3, 6)),
        True,
        False,
        1_000_000,
    ),
    Style("bass figure", Trait(bass=(0, 0.75, 1.5, 2.25, 3.0, 3.5)), False, True, 2_000_000),
)


def other_song(number: int) -> Song:
    """A song like those that the demo was trained on, without any trait."""
    bpm = float(5 * np.random.default_rng(number).integers(12, 36))
    return Synthesiser(snap=True).song(HELD_BACK + 3_000_000 + number, SECONDS, bpm=bpm, beats_per_bar=4)


def write(style: Style, numbers: range, folder: Path) -> None:
    """Write songs, each with its caption beside it."""
    folder.mkdir()
    for number in numbers:
        song = style.song(number)
        soundfile.write(folder / f"song{number:02}.wav", song.audio, SAMPLE_RATE)
        (folder / f"song{number:02}.txt").write_text(song.caption)


def rhythm(audio: Array, bpm: float, is_low: bool) -> Array:
    """Mean onset strength at each sixteenth of a bar of 4/4 that begins with the clip, ``[16]``."""
    strengths = _low_onsets(audio) if is_low else onsets(audio)
    spread = np.maximum.reduce([strengths, np.roll(strengths, 1), np.roll(strengths, -1)])
    step = 60 / bpm / 4 * SAMPLE_RATE / FRAME
    count = int(len(spread) / step) // _STEPS * _STEPS
    frames = np.round(np.arange(count) * step).astype(int)
    return spread[np.minimum(frames, len(spread) - 1)].reshape(-1, _STEPS).mean(0)


def _low_onsets(audio: Array) -> Array:
    """Rise of the level of low notes at every code frame, in amplitude: little leaks into it from higher ones."""
    low = sosfilt(butter(6, _LOW, fs=SAMPLE_RATE, output="sos"), audio)
    frames = low[: len(low) // FRAME * FRAME].reshape(-1, FRAME)
    level = np.sqrt((frames**2).mean(1))
    return np.maximum(0, np.diff(level, prepend=0)).astype(np.float32)


def rhythm_correlation(audio: Array, song: Song, is_low: bool) -> float:
    """Correlation of a clip's rhythm with that of a song of the same tempo."""
    ours, theirs = (rhythm(sound[: len(audio)], song.bpm, is_low) for sound in (audio, song.audio))
    return float(np.corrcoef(ours, theirs)[0, 1]) if ours.std() > 0 else 0.0


def hits(audio: Array) -> NDArray[np.float64]:
    """Seconds at which a snare or a hat is struck."""
    magnitudes = np.abs(librosa.stft(audio, n_fft=1024, hop_length=_HOP))
    high = magnitudes[librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=1024) > _HIGH].sum(0)
    return _peaks(np.maximum(0, np.diff(np.log1p(10 * high), prepend=0)), _HOP / SAMPLE_RATE)


def low_notes(audio: Array) -> NDArray[np.float64]:
    """Seconds at which a low note begins."""
    return _peaks(_low_onsets(audio), FRAME / SAMPLE_RATE)


def _peaks(strengths: NDArray[np.floating], interval: float) -> NDArray[np.float64]:
    """Seconds of the peaks of what is measured every `interval` seconds."""
    distance = max(1, round(_SHORTEST_GAP / interval))
    # A peak has something before it: so does the first value here.
    found, _ = find_peaks(np.insert(strengths, 0, 0), height=_WEAKEST * strengths.max(), distance=distance)
    return np.asarray((found - 1) * interval)


def between_eighths(audio: Array, song: Song, heard: NDArray[np.float64], steps: Collection[int]) -> float:
    """F-measure of onsets between the eighths of a song's tempo against those of a pattern of sixteenths.

    Songs without a trait have next to none there: on the eighths, any rhythm shares some onsets with any other.

    Parameters
    ----------
    heard : seconds of all onsets of the clip
    steps : of a bar; those on eighths do not count
    """
    step, seconds = 60 / song.bpm / 4, len(audio) / SAMPLE_RATE
    bars = np.arange(int(np.ceil(seconds / step / _STEPS)))[:, None]
    times = ((bars * _STEPS + sorted(index for index in steps if index % 2)) * step).ravel()
    off = heard[np.round(heard / step).astype(int) % 2 == 1]
    return float(mir_eval.onset.f_measure(times[times < seconds], off, window=_TOLERANCE)[0]) if len(off) else 0.0


def chord_overlap(audio: Array, song: Song) -> float:
    """Share of a clip's time in which it has the chords of a song of the same tempo (WCSR, major and minor)."""
    heard = [segment for segment in recognise(audio, SAMPLE_RATE).chords if segment.end > segment.start]
    if not heard:
        return 0.0
    seconds = len(audio) / SAMPLE_RATE
    truth = [chord for chord in song.chords if chord.start < seconds]
    intervals = np.array([[chord.start, min(chord.end, seconds)] for chord in truth])
    scores = mir_eval.chord.evaluate(
        intervals,
        [chord.label for chord in truth],
        np.array([[segment.start, segment.end] for segment in heard]),
        [segment.label for segment in heard],
    )
    return float(scores["majmin"])


def measures(style: Style) -> dict[str, Callable[[Array, Song], float]]:
    """What is heard of a style's trait, by name."""
    trait = style.trait
    found: dict[str, Callable[[Array, Song], float]] = {
        "rhythm (correlation)": lambda audio, song: rhythm_correlation(audio, song, style.is_low)
    }
    if trait.pattern:
        _, snare, hat = trait.pattern
        struck = [index for index, marks in enumerate(zip(snare, hat, strict=True)) if "x" in marks]
        found["hits (F-measure)"] = lambda audio, song: between_eighths(audio, song, hits(audio), struck)
    if trait.bass:
        played = [round(4 * beat) for beat in trait.bass]
        found["low notes (F-measure)"] = lambda audio, song: between_eighths(audio, song, low_notes(audio), played)
    if trait.progression:
        found["chords (WCSR)"] = chord_overlap
    return found
