"""Musical styles: tempo, drum patterns, bass and accompaniment figures, instruments, words."""

from dataclasses import dataclass

# A bar of drums: kick, snare and hi-hat over the steps of a bar (16 in 4/4, 12 in 3/4).
Pattern = tuple[str, str, str]


@dataclass(frozen=True)
class Style:
    """One style.

    Attributes
    ----------
    tempo : slowest and fastest usual bpm
    kit : drum kit
    patterns : drum bars in 4/4; one is chosen for a song
    swing : how far off-beat eighths are delayed, as a share of a beat
    bass : beats of a bar on which the bass plays
    comp : beats of a bar on which the chords are struck
    chords, leads : timbres to choose from
    words : adjectives that captions may use
    """

    tempo: tuple[int, int]
    kit: str
    patterns: tuple[Pattern, ...]
    bass: tuple[float, ...]
    comp: tuple[float, ...]
    chords: tuple[str, ...]
    leads: tuple[str, ...]
    words: tuple[str, ...]
    swing: float = 0.0


@dataclass(frozen=True)
class Trait:
    """What songs have in place of what their styles have; None for what it leaves as it is.

    Attributes
    ----------
    pattern : a drum bar in 4/4
    progression : scale degrees of the chords, one a bar
    bass : beats of a bar on which the bass plays
    """

    pattern: Pattern | None = None
    progression: tuple[int, ...] | None = None
    bass: tuple[float, ...] | None = None


STYLES = {
    "rock": Style(
        (100, 160),
        "acoustic",
        (
            ("x.......x.x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
            ("x.....x.x.......", "....x.......x...", "x.x.x.x.x.x.x.x."),
        ),
        (0, 1, 2, 3),
        (0, 2),
        ("guitar", "organ"),
        ("guitar", "organ", "synth"),
        ("energetic", "driving"),
    ),
    "pop": Style(
        (85, 140),
        "acoustic",
        (
            ("x.......x.......", "....x.......x...", "x.x.x.x.x.x.x.x."),
            ("x.....x...x.....", "....x.......x...", "x...x...x...x..."),
        ),
        (0, 2),
        (0, 2),
        ("piano", "strings", "guitar"),
        ("piano", "bell", "synth", "flute"),
        ("happy", "bright"),
    ),
    "lofi": Style(
        (65, 100),
        "soft",
        (
            ("x.........x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
            ("x......x..x.....", "....x.......x...", "x...x...x...x..."),
        ),
        (0, 2),
        (0, 2),
        ("rhodes", "piano", "pad"),
        ("piano", "rhodes", "flute", "bell"),
        ("chill", "relaxed", "mellow"),
        swing=0.12,
    ),
    "house": Style(
        (115, 135),
        "electronic",
        (
            ("x...x...x...x...", "....x.......x...", "..x...x...x...x."),
            ("x...x...x...x...", "............x...", "..x...x...x...x."),
        ),
        (0.5, 1.5, 2.5, 3.5),
        (0.5, 1.5, 2.5, 3.5),
        ("organ", "synth", "piano"),
        ("synth", "square", "piano"),
        ("upbeat", "dance", "groovy"),
    ),
    "techno": Style(
        (125, 170),
        "hard",
        (
            ("x...x...x...x...", "................", "..x...x...x...x."),
            ("x...x...x...x...", "....x.......x...", "x.x.x.x.x.x.x.x."),
        ),
        (0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5),
        (0,),
        ("synth", "pad"),
        ("square", "synth", "bell"),
        ("dark", "hypnotic"),
    ),
    "hip hop": Style(
        (70, 105),
        "electronic",
        (
            ("x.....x...x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
            ("x..x......x.....", "....x.......x...", "x.x.x.x.x.x.x.x."),
        ),
        (0, 1.5, 2.5),
        (0,),
        ("rhodes", "strings", "piano"),
        ("bell", "square", "flute"),
        ("laid back", "urban"),
    ),
    "jazz": Style(
        (90, 180),
        "soft",
        (
            ("x.......x.......", "....x.......x...", "x...x.x.x...x.x."),
            ("x...x...x...x...", "................", "x...x.x.x...x.x."),
        ),
        (0, 1, 2, 3),
        (0, 1.5),
        ("piano", "guitar", "rhodes"),
        ("piano", "marimba", "flute", "organ"),
        ("smooth", "swinging"),
        swing=0.16,
    ),
    "ambient": Style(
        (60, 95),
        "soft",
        (
            ("x...............", "........x.......", "................"),
            ("x.......x.......", "................", "....x.......x..."),
        ),
        (0,),
        (0,),
        ("pad", "strings"),
        ("bell", "flute", "marimba"),
        ("calm", "dreamy", "peaceful"),
    ),
    "reggae": Style(
        (65, 100),
        "acoustic",
        (
            ("........x.......", "........x.......", "x.x.x.x.x.x.x.x."),
            ("x.......x.......", "........x.......", "x.x.x.x.x.x.x.x."),
        ),
        (0, 1.5, 2),
        (1, 3),
        ("organ", "guitar"),
        ("organ", "marimba", "guitar"),
        ("sunny", "laid back"),
    ),
}

WALTZ_PATTERNS: tuple[Pattern, ...] = (
    ("x...........", "....x...x...", "x...x...x..."),
    ("x...........", "........x...", "x.x.x.x.x.x."),
)

# Scale degrees (0 = tonic) of four-bar progressions.
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (0, 3, 4, 0), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 0, 4), (0, 6, 5, 6), (0, 3, 4, 0), (0, 5, 3, 4)),
}
NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

# Onsets in beats of one bar of melody, by beats in a bar.
RHYTHMS = {
    4: ((0, 1, 2, 3), (0, 1.5, 2, 3), (0, 0.5, 1, 2, 3), (0, 1, 2, 2.5, 3), (0, 2, 3), (0, 2)),
    3: ((0, 1, 2), (0, 1.5, 2), (0, 2), (0, 0.5, 1, 2)),
}
