"""Makes one clip: draws a score, arranges, performs, renders and spoils it, all from the clip's number."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.rendered import arrangement, harmony, midi, mixing, sources
from bench.rendered.clip import HELD_BACK, SOUND, TRAINING, Clip
from bench.rendered.midi import DRUMS, RATE, Player
from bench.rendered.patterns import FEELS, FIGURES, Feel
from bench.rendered.performance import TIMINGS, Performance
from bench.rendered.score import Score, ScoreChord, ScoreNote
from demo.synth.song import Chord, Note
from musicgen_service.analysis.chord_labels import NO_CHORD
from musicgen_service.analysis.pitch import NOTE_NAMES

import numpy as np
import soundfile

KINDS = {"song": 0.55, "voices": 0.19, "lead sheet": 0.06, "solo": 0.09, "drums": 0.11}
"""What is made, and how often: a tune with an accompaniment written to it, all voices of a score, a tune with the chord
symbols printed above it, a tune alone, drums alone."""
SECONDS = (15.0, 30.0)
_FIRST_SEED = 7_000_000
_HELD_BACK_SHARE = 0.4
_WITHOUT_DRUMS = 0.35  # of songs
_DEFAULT_TEMPI = {"2/4": (70, 125), "3/4": (80, 180), "4/4": (65, 160), "2/2": (80, 160), "6/8": (45, 115)}
# Programs of General MIDI.
_LEADS = (0, 4, 11, 21, 22, 24, 25, 26, 40, 41, 42, 52, 53, 56, 57, 60, 64, 65, 66, 68, 71, 73, 75, 78, 80, 81)
_ACCOMPANYING = (0, 1, 4, 5, 6, 16, 19, 21, 24, 25, 27, 29, 46, 48, 50, 88, 89)
_BASSES = (32, 33, 34, 35, 38, 39, 43)
_ENSEMBLES = (
    (48,),
    (19,),
    (52,),
    (0,),
    (6,),
    (16,),
    (40, 40, 41, 42),
    (73, 68, 71, 70),
    (56, 56, 57, 58),
    (65, 65, 66, 67),
)
_TUNE_RANGE = (57, 84)  # MIDI, between which a melody's middle note lies
_ATTEMPTS = 400


@dataclass
class _Plan:
    """Everything that is drawn before a note is played."""

    kind: str
    split: str
    score: Score
    chords: list[ScoreChord]
    feel: str
    figure: str
    tempo: float
    timing: str
    start: float
    seconds: float


def split(number: int) -> str:
    """The part that a clip belongs to."""
    return _drawn_split(_generator(number))


def make(number: int, folder: Path) -> Clip:
    """Make clip `number` and write it into a folder."""
    random = _generator(number)
    plan = _plan(random)
    swing = FEELS[plan.feel].swing if plan.feel else 0.0
    playing = Performance(plan.timing, plan.tempo, plan.score.beats, swing, random)
    upper, bass = _accompaniment(plan, random)
    detuning = float(random.uniform(-0.5, 0.5)) if random.random() < 0.25 else 0.0
    length = plan.start + plan.seconds
    groups, melody, bass_notes = _groups(plan, playing, upper, bass, random)
    rendered = [(midi.render(players, max(length, 0.0), detuning), level) for players, level in groups]
    samples = mixing.mixed(rendered)
    samples = samples[round(plan.start * RATE) :] if plan.start > 0 else np.pad(samples, (round(-plan.start * RATE), 0))
    samples = samples[: round(plan.seconds * RATE)]
    samples, sound = spoiled(samples, random)
    beats = playing.seconds(np.arange(plan.score.beats + 1.0)) - plan.start
    # A beat on the clip's end is no longer inside.
    inside = (beats >= 0) & (beats < plan.seconds - 0.03)
    is_downbeat = np.arange(len(beats)) % plan.score.beats_per_bar == 0
    key = plan.score.key if plan.kind != "drums" else None
    clip = Clip(
        name=f"{number:04d}",
        kind=plan.kind,
        split=plan.split,
        composer=plan.score.composer if plan.kind != "drums" else "",
        title=plan.score.title if plan.kind != "drums" else "",
        metre=plan.score.metre if plan.score.metre != "2/2" else "4/4",
        beats_per_bar=plan.score.beats_per_bar,
        tempo=float(60 / np.median(np.diff(beats[inside]))),
        timing=plan.timing,
        feel=plan.feel,
        figure=plan.figure,
        sound=sound,
        key=f"{NOTE_NAMES[key[0]]} {key[1]}" if key else None,
        beats=beats[inside],
        downbeats=beats[inside & is_downbeat],
        chords=_timed(plan, playing),
        melody=_cut(melody, plan),
        bass=_cut(bass_notes, plan),
        detuning=detuning,
        folder=folder,
    )
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / (clip.name + SOUND), np.clip(samples, -1, 1), RATE)
    clip.save()
    return clip


def _generator(number: int) -> np.random.Generator:
    return np.random.default_rng(_FIRST_SEED + number)


def _drawn_split(random: np.random.Generator) -> str:
    return HELD_BACK if random.random() < _HELD_BACK_SHARE else TRAINING


def _plan(random: np.random.Generator) -> _Plan:
    split = _drawn_split(random)
    kind = str(random.choice(list(KINDS), p=list(KINDS.values())))
    has_drums = kind == "drums" or (kind in ("song", "lead sheet") and random.random() > _WITHOUT_DRUMS)
    feel = _pick([name for name, f in FEELS.items() if f.split == split], random) if has_drums else ""
    if kind == "lead sheet" and feel and FEELS[feel].metre in ("3/4", "6/8", "2/4"):
        feel = "rock" if split == TRAINING else "pop"  # those that there are, are in four
    score = _score(kind, split, FEELS[feel] if feel else None, random)
    figure = (
        _pick([name for name, f in FIGURES.items() if f.split == split], random)
        if kind in ("song", "lead sheet")
        else ""
    )
    low, high = FEELS[feel].tempo if feel else _DEFAULT_TEMPI[score.metre]
    tempo = float(np.exp(random.uniform(np.log(low), np.log(high))))
    seconds = float(random.uniform(*SECONDS))
    start = float(random.uniform(0.0, 3.0) if random.random() < 0.6 else -random.uniform(0.0, 1.5))
    bars = int(np.ceil((seconds + max(start, 0) + 1) * tempo * 1.3 / 60 / score.beats_per_bar))
    score = arrangement.repeated(score, bars)
    if kind == "voices":
        chords = harmony.of_notes(score)
    elif kind == "lead sheet":
        chords = harmony.printed(score)
    elif kind == "song":
        span = score.beats_per_bar / 2 if score.beats_per_bar == 4 and random.random() < 0.35 else score.beats_per_bar
        chords = harmony.written(score, random, float(random.choice([0.0, 0.3, 1.0])), float(span))
    else:
        chords = [ScoreChord(0.0, float(score.beats), NO_CHORD)]
    timings = list(TIMINGS)
    weights = np.array([TIMINGS[name][2] for name in timings])
    timing = str(random.choice(timings, p=weights / weights.sum()))
    return _Plan(kind, split, score, chords, feel, figure, tempo, timing, start, seconds)


def _score(kind: str, split: str, feel: Feel | None, random: np.random.Generator) -> Score:
    """Draw a score that suits, in a key of any height."""
    group = {"voices": sources.POLYPHONIC, "lead sheet": sources.LEAD_SHEETS}.get(kind, sources.TUNES)[split]
    for _ in range(_ATTEMPTS):
        composer = _pick(list(group), random)
        score = sources.read(group[composer], composer, random)
        if score is None or (kind == "lead sheet") != bool(score.symbols) or (kind == "song" and score.key is None):
            continue
        if feel and arrangement.is_rebarred(feel.metre):
            if score.metre not in ("4/4", "2/2"):
                continue
            score = arrangement.rebarred(score, feel.metre)
        elif feel and feel.metre != score.metre.replace("2/2", "4/4"):
            continue
        score = arrangement.transposed(score, int(random.integers(-5, 7)))
        if kind == "voices":
            return score
        middle = float(np.median([note.midi for note in score.parts[0]]))
        octaves = 12 * round((random.uniform(*_TUNE_RANGE) - middle) / 12)
        melody = [note._replace(midi=note.midi + octaves) for note in score.parts[0]]
        return replace(score, parts=[melody])
    raise LookupError(f"no score for a {kind} of {split}, {feel}")


def _accompaniment(plan: _Plan, random: np.random.Generator) -> tuple[list[ScoreNote], list[ScoreNote]]:
    if not plan.figure:
        return [], []
    return arrangement.accompaniment(plan.chords, FIGURES[plan.figure], plan.score.beats_per_bar, random)


def _groups(
    plan: _Plan,
    playing: Performance,
    upper: list[ScoreNote],
    bass: list[ScoreNote],
    random: np.random.Generator,
) -> tuple[list[tuple[list[Player], float]], list[Note], list[Note]]:
    """The players, in groups with a level each in dB; and the notes of melody and bass as played."""
    if plan.kind == "voices":
        ensemble = _ENSEMBLES[int(random.integers(len(_ENSEMBLES)))]
        voices = [playing.play(part) for part in plan.score.parts]
        players = [Player(ensemble[index % len(ensemble)], voice) for index, voice in enumerate(voices)]
        return [(players, 0.0)], [note for note, _ in voices[0]], [note for note, _ in voices[-1]]
    lead = playing.play(plan.score.parts[0]) if plan.kind != "drums" else []
    chords, low = playing.play(upper), playing.play(bass)
    hits = playing.play(arrangement.drums(FEELS[plan.feel], plan.score.bars, random), 0.6) if plan.feel else []
    groups = [
        ([Player(_pick(_LEADS, random), lead)], float(random.uniform(-4, 4))),
        ([Player(_pick(_ACCOMPANYING, random), chords)], float(random.uniform(-8, 0))),
        ([Player(_pick(_BASSES, random), low)], float(random.uniform(-8, 0))),
        ([Player(DRUMS, hits)], float(random.uniform(-8, 3))),
    ]
    return groups, [note for note, _ in lead], [note for note, _ in low]


def spoiled(samples: mixing.Samples, random: np.random.Generator) -> tuple[mixing.Samples, dict[str, float]]:
    """Do to the sound some of what recordings do; returns what was done."""
    done: dict[str, float] = {}
    if random.random() < 0.6:
        done["reverberation"], wet = float(random.uniform(0.3, 2.0)), float(random.uniform(0.05, 0.35))
        samples = mixing.reverberated(samples, done["reverberation"], wet, random)
    if random.random() < 0.5:
        done["compression"] = float(random.uniform(2, 8))
        samples = mixing.compressed(samples, done["compression"])
    if random.random() < 0.15:
        done["low cut"], done["high cut"] = float(random.uniform(60, 250)), float(random.uniform(3000, 9000))
        samples = mixing.narrowed(samples, done["low cut"], done["high cut"])
    if random.random() < 0.2:
        done["noise"] = float(random.uniform(20, 45))
        samples = mixing.noisy(samples, done["noise"], random)
    done["loudness"] = float(random.uniform(-40, -8) if random.random() < 0.4 else random.uniform(-20, -9))
    samples = mixing.levelled(samples, done["loudness"])
    if random.random() < 0.4:
        codec = _pick(list(mixing.CODECS), random)
        done[codec] = _pick(mixing.CODECS[codec][2], random)
        samples = mixing.coded(samples, codec, int(done[codec]))
    return samples, done


def _timed(plan: _Plan, playing: Performance) -> list[Chord]:
    """The chords in seconds, covering the clip."""
    found = [Chord(0.0, -plan.start, NO_CHORD)] if plan.start < 0 else []
    for chord in plan.chords:
        start, end = (float(playing.seconds(at)) - plan.start for at in (chord.start, chord.end))
        start, end = max(start, 0.0), min(end, plan.seconds)
        if end > start:
            found.append(Chord(start, end, chord.label))
    return found


def _cut(notes: list[Note], plan: _Plan) -> list[Note]:
    """The notes that sound in the clip."""
    moved = [Note(n.start - plan.start, n.end - plan.start, n.midi) for n in notes]
    return [
        n._replace(start=max(n.start, 0.0), end=min(n.end, plan.seconds))
        for n in moved
        if n.end > 0 and n.start < plan.seconds
    ]


def _pick(options: Any, random: np.random.Generator) -> Any:
    return options[int(random.integers(len(options)))]
