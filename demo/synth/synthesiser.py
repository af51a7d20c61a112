"""The synthesiser: makes a labelled song from a seed."""

from dataclasses import dataclass, replace

import numpy as np

from demo.synth import captions
from demo.synth.drums import add_hit
from demo.synth.song import Audio, Chord, Note, Song
from demo.synth.styles import NOTE_NAMES, PROGRESSIONS, RHYTHMS, SCALES, STYLES, WALTZ_PATTERNS, Pattern, Style, Trait
from demo.synth.timbres import MAX_NOTE_SECONDS, SAMPLE_RATE, add_note

STEMS = ("drums", "bass", "chords", "lead")
FRAME = 640  # samples of a codec frame: 20 ms, the grid that `snap` puts onsets on
PHRASE_BARS = 8  # a song alternates two phrases, each with its own progression
LEVEL = 0.4  # of the mix, the same in every song, so that a chord always sounds the same; less only where it would clip
CHORD_LEVEL, BASS_LEVEL, LEAD_LEVEL = 0.16, 0.4, 0.4  # of each note, before `LEVEL`: the three notes of a chord add up
HIT_LEVEL, TOM_LEVEL, OFF_BEAT_HAT = 0.75, 0.7, 0.75  # of drums; hats between the beats are softer


@dataclass(frozen=True)
class _Score:
    """The composition of a song."""

    bpm: float
    tonic: int
    mode: str
    style: Style
    beats_per_bar: int
    pattern: Pattern
    progressions: tuple[tuple[int, ...], ...]
    motif: tuple[tuple[tuple[float, ...], tuple[int, ...]], ...]
    chords: str
    lead: str | None
    drums: bool
    bass: bool
    bars_per_chord: float

    def degree_to_midi(self, degree: int, lowest: int) -> int:
        """The first note at or above MIDI number `lowest` of the pitch class of a scale degree."""
        pitch_class = self.tonic + SCALES[self.mode][degree % 7]
        return lowest + (pitch_class - lowest) % 12

    def chord_degree(self, bar: int, beat: float = 0.0) -> int:
        progression = self.progressions[bar // PHRASE_BARS % 2]
        return progression[int((bar + beat / self.beats_per_bar) / self.bars_per_chord) % len(progression)]

    def with_trait(self, trait: Trait) -> "_Score":
        progressions = (trait.progression,) * 2 if trait.progression else self.progressions
        style = replace(self.style, bass=trait.bass or self.style.bass)
        pattern, bass = trait.pattern or self.pattern, self.bass or trait.bass is not None
        return replace(self, pattern=pattern, progressions=progressions, style=style, bass=bass)

    @property
    def changes(self) -> tuple[float, ...]:
        """Beats of a bar on which its chords begin."""
        beats = self.beats_per_bar * self.bars_per_chord
        return tuple(float(beat) for beat in np.arange(0, self.beats_per_bar, beats))


class Synthesiser:
    """Makes songs from seeds: the same arguments always give the same samples.

    Parameters
    ----------
    snap : put onsets on the codec's 20 ms frame grid, at most 10 ms from where the beat is. Labels of beats
        keep the exact grid; melody notes have the times they are played at.
    """

    def __init__(self, snap: bool = False) -> None:
        self.snap = snap

    def song(
        self,
        seed: int,
        seconds: float = 10.0,
        *,
        start: float = 0.0,
        bpm: float | None = None,
        key: int | None = None,
        mode: str | None = None,
        style: str | None = None,
        drums: bool | None = None,
        lead: str | bool | None = None,
        beats_per_bar: int | None = None,
        bars_per_chord: float = 1.0,
        trait: Trait | None = None,
    ) -> Song:
        """One song. What is not given follows from the seed.

        Parameters
        ----------
        seed : the song's number
        seconds : length of the clip
        start : seconds into the song at which the clip begins; 0 is the first downbeat
        bpm : 60 to 180
        key : 0 (C) to 11 (B)
        mode : "major" or "minor"
        style : a name from `demo.synth.styles.STYLES`
        drums : whether there are drums
        lead : a timbre, or True or False for any or no lead
        beats_per_bar : 4 or 3
        bars_per_chord : a whole number, or 1/2
        trait : what the song has in place of what its style has
        """
        random = np.random.default_rng(seed)
        score, names = _compose(random, bpm, key, mode, style, drums, lead, beats_per_bar, bars_per_chord)
        score = score.with_trait(trait) if trait else score
        samples = round(seconds * SAMPLE_RATE)
        stems = {name: np.zeros(samples, np.float32) for name in STEMS}
        beat = 60 / score.bpm
        bar_seconds = beat * score.beats_per_bar
        chords, melody = [], []
        # Bars before the clip count too: their notes may still sound when it begins.
        first_bar = max(0, int((start - MAX_NOTE_SECONDS) // bar_seconds))
        for bar in range(first_bar, int(np.ceil((start + seconds) / bar_seconds))):
            time = bar * bar_seconds - start
            labels = self._play_chords_and_bass(score, bar, time, stems)
            ends = [*score.changes[1:], score.beats_per_bar]
            for label, *edges in zip(labels, score.changes, ends, strict=True):
                begin, end = ((bar + edge / score.beats_per_bar) * bar_seconds - start for edge in edges)
                if begin < seconds:
                    chords.append(Chord(max(begin, 0.0), min(end, seconds), label))
            if score.lead:
                melody += self._play_lead(score, bar, time, stems["lead"])
            if score.drums:
                self._play_drums(score, bar, time, stems["drums"])
        mix = np.sum([stems[name] for name in STEMS], axis=0)
        gain = np.float32(min(LEVEL, 0.95 / (np.abs(mix).max() + 1e-6)))
        stems = {name: stem * gain for name, stem in stems.items()}
        grid = np.arange(int(np.ceil(start / beat - 1e-9)), int(np.ceil((start + seconds) / beat - 1e-9)))
        beats = (grid * beat - start).astype(np.float64)
        facts = captions.Facts(
            score.bpm, names["key"], names["style"], score.lead, score.chords, score.drums, score.beats_per_bar
        )
        return Song(
            audio=np.sum([stems[name] for name in STEMS], axis=0),
            stems=stems,
            caption=captions.write(facts, random),
            bpm=score.bpm,
            beats=beats,
            downbeats=beats[grid % score.beats_per_bar == 0],
            chords=[chord for chord in chords if chord.end > 1e-9],
            key=names["key"],
            melody=[
                Note(max(n.start, 0.0), min(n.end, seconds), n.midi) for n in melody if n.end > 0 and n.start < seconds
            ],
            beats_per_bar=score.beats_per_bar,
            style=names["style"],
            lead=score.lead,
        )

    def _sample(self, seconds: float) -> int:
        if self.snap:
            return round(seconds * SAMPLE_RATE / FRAME) * FRAME
        return round(seconds * SAMPLE_RATE)

    def _play_chords_and_bass(self, score: _Score, bar: int, time: float, stems: dict[str, Audio]) -> list[str]:
        """Chords and bass of one bar; returns the labels of its chords."""
        for at, until in _note_spans(score.style.comp, score):
            triad = _triad(score, score.chord_degree(bar, at))
            self._play(score, stems["chords"], score.chords, triad, time, at, until - 0.05, CHORD_LEVEL)
        if score.bass:
            timbre = "synth bass" if score.style.kit in ("electronic", "hard") else "bass"
            for at, until in _note_spans(score.style.bass, score):
                note = score.degree_to_midi(score.chord_degree(bar, at), 33)
                self._play(score, stems["bass"], timbre, [note], time, at, until - 0.1, BASS_LEVEL)
        return [_label(_triad(score, score.chord_degree(bar, at))) for at in score.changes]

    def _play_lead(self, score: _Score, bar: int, time: float, stem: Audio) -> list[Note]:
        """A bar of the lead: a motif of two bars, transposed to the bar's chord; every eighth bar rests."""
        if bar % PHRASE_BARS == PHRASE_BARS - 1 or not score.lead:
            return []
        onsets, steps = score.motif[bar % 2]
        if bar % 4 == 3:
            onsets, steps = onsets[:2], (*steps[:1], 0)
        root = score.degree_to_midi(score.chord_degree(bar), 60)
        notes = []
        for at, until, step in zip(onsets, [*onsets[1:], score.beats_per_bar], steps, strict=False):
            midi = score.degree_to_midi(score.chord_degree(bar, at) + step, root)
            begin, end = self._play(score, stem, score.lead, [midi], time, at, until - 0.05, LEAD_LEVEL)
            notes.append(Note(begin, end, midi))
        return notes

    def _play(
        self,
        score: _Score,
        stem: Audio,
        timbre: str,
        midi: list[int],
        time: float,
        at: float,
        until: float,
        level: float,
    ) -> tuple[float, float]:
        """Play notes from beat `at` to beat `until` of a bar; returns when they start and end, in seconds."""
        beat = 60 / score.bpm
        begin = self._sample(time + _swung(at, score.style.swing) * beat)
        length = round(min((until - at) * beat, MAX_NOTE_SECONDS) * SAMPLE_RATE)
        length = max(FRAME, length // FRAME * FRAME) if self.snap else length
        for note in midi:
            add_note(stem, timbre, note, begin, length, level)
        return begin / SAMPLE_RATE, (begin + length) / SAMPLE_RATE

    def _play_drums(self, score: _Score, bar: int, time: float, stem: Audio) -> None:
        """A bar of drums; every fourth ends in a fill."""
        fill = (score.beats_per_bar - 1) * 4 if bar % 4 == 3 else None
        for sound, steps in zip(("kick", "snare", "hat"), score.pattern, strict=True):
            for step, mark in enumerate(steps):
                if mark == "x" and not (sound == "kick" and fill is not None and step > fill):
                    at = _swung(step / 4, score.style.swing) * 60 / score.bpm
                    accent = 1.0 if sound != "hat" or step % 4 == 0 else OFF_BEAT_HAT
                    add_hit(stem, score.style.kit, sound, self._sample(time + at), HIT_LEVEL * accent)
        if fill is not None:
            for step in (fill, fill + 2):
                add_hit(stem, score.style.kit, "tom", self._sample(time + step / 4 * 60 / score.bpm), TOM_LEVEL)


def _note_spans(figure: tuple[float, ...], score: _Score) -> list[tuple[float, float]]:
    """First and last beats of the notes of a figure in a bar; each chord that begins is struck anew."""
    starts = sorted({float(beat) for beat in (*figure, *score.changes[1:]) if beat < score.beats_per_bar})
    return list(zip(starts, [*starts[1:], float(score.beats_per_bar)], strict=True))


def _triad(score: _Score, degree: int) -> list[int]:
    """MIDI numbers of a chord, its root the lowest."""
    root = score.degree_to_midi(degree, 48)
    return [root, score.degree_to_midi(degree + 2, root), score.degree_to_midi(degree + 4, root)]


def _label(triad: list[int]) -> str:
    root, third, fifth = triad[0], triad[1] - triad[0], triad[2] - triad[0]
    quality = "dim" if fifth % 12 == 6 else "maj" if third % 12 == 4 else "min"
    return f"{NOTE_NAMES[root % 12]}:{quality}"


def _swung(at: float, swing: float) -> float:
    """Delays off-beat eighths (the second half of a beat) by `swing` of a beat."""
    return at + swing if abs(at % 1 - 0.5) < 0.01 else at


def _compose(
    random: np.random.Generator,
    bpm: float | None,
    key: int | None,
    mode: str | None,
    style: str | None,
    drums: bool | None,
    lead: str | bool | None,
    beats_per_bar: int | None,
    bars_per_chord: float,
) -> tuple[_Score, dict[str, str]]:
    """Draw a song's composition. Every draw is made even if its value is given, so that a fixed choice changes no
    other."""

    def pick(options: tuple) -> object:
        return options[int(random.integers(len(options)))]

    drawn_style = str(pick(tuple(STYLES)))
    style_name = style or drawn_style
    chosen = STYLES[style_name]
    drawn_bpm = float(random.integers(chosen.tempo[0] - 5, chosen.tempo[1] + 6))
    tempo = float(np.clip(bpm or drawn_bpm, 60, 180))
    drawn_key, drawn_mode = int(random.integers(12)), str(pick(("major", "minor")))
    tonic, mode = drawn_key if key is None else key, mode or drawn_mode
    drawn_drums, drawn_lead, bass = random.random() < 0.75, random.random() < 0.8, random.random() < 0.9
    lead_timbre, chord_timbre = str(pick(chosen.leads)), str(pick(chosen.chords))
    drawn_beats = 3 if random.random() < 0.08 else 4
    beats = beats_per_bar or drawn_beats
    patterns = chosen.patterns if beats == 4 else WALTZ_PATTERNS
    pattern = patterns[int(random.integers(2))]
    first, second = random.permutation(5)[:2]
    rhythms = RHYTHMS[beats]
    motif = tuple(
        (rhythms[int(random.integers(len(rhythms)))], tuple(int(s) for s in random.choice([0, 1, 2, 2, 4, 4, 5, 6], 6)))
        for _ in range(2)
    )
    has_lead = drawn_lead if lead is None else bool(lead)
    score = _Score(
        bpm=tempo,
        tonic=tonic,
        mode=mode,
        style=chosen,
        beats_per_bar=beats,
        pattern=pattern,
        progressions=(PROGRESSIONS[mode][first], PROGRESSIONS[mode][second]),
        motif=motif,
        chords=chord_timbre,
        lead=(lead if isinstance(lead, str) else lead_timbre) if has_lead else None,
        drums=drawn_drums if drums is None else drums,
        bass=bass,
        bars_per_chord=bars_per_chord,
    )
    return score, {"style": style_name, "key": f"{NOTE_NAMES[tonic]} {mode}"}
