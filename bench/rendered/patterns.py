"""Patterns of drums and of accompaniment; each belongs to training or is held back."""

from dataclasses import dataclass

from bench.rendered.clip import HELD_BACK, TRAINING

KICK, SNARE, RIM, CLAP, CLOSED, OPEN, RIDE, SHAKER, TAMBOURINE, CONGA, TOM = 36, 38, 37, 39, 42, 46, 51, 70, 54, 63, 45


@dataclass(frozen=True)
class Feel:
    """A bar of drums.

    Attributes
    ----------
    metre : in which it is played; see `score.METRES`, and "5/4", "7/4" and "7/8"
    hits : MIDI numbers of drums with their steps, "x" for a hit, "o" for a soft one; the steps divide the bar evenly
    swing : how far half beats are delayed, as a share of a beat
    tempo : lowest and highest, in beats per minute
    """

    split: str
    metre: str
    hits: dict[int, str]
    tempo: tuple[int, int] = (75, 150)
    swing: float = 0.0


FEELS = {
    # training
    "rock": Feel(TRAINING, "4/4", {KICK: "x.......x.x.....", SNARE: "....x.......x...", CLOSED: "x.x.x.x.x.x.x.x."}),
    "disco": Feel(
        TRAINING, "4/4", {KICK: "x...x...x...x...", CLAP: "....x.......x...", OPEN: "..x...x...x...x."}, (100, 135)
    ),
    "half-time rock": Feel(
        TRAINING, "4/4", {KICK: "x..x......x.....", SNARE: "........x.......", CLOSED: "x...x...x...x..."}, (110, 165)
    ),
    "double-time country": Feel(
        TRAINING, "4/4", {KICK: "x...x...x...x...", SNARE: "..x...x...x...x.", CLOSED: "xoxoxoxoxoxoxoxo"}, (75, 110)
    ),
    "offbeat hats": Feel(
        TRAINING, "4/4", {KICK: "x.......x.......", SNARE: "....x.......x...", OPEN: "..x...x...x...x."}
    ),
    "shuffle": Feel(
        TRAINING,
        "4/4",
        {KICK: "x.......x.......", SNARE: "....x.......x...", RIDE: "x.o.x.o.x.o.x.o."},
        (85, 150),
        0.16,
    ),
    "break": Feel(
        TRAINING, "4/4", {KICK: "x.x.......xx....", SNARE: "....x..o.o..x..o", CLOSED: "x.x.x.x.x.x.x.x."}, (85, 175)
    ),
    "kickless rim": Feel(TRAINING, "4/4", {RIM: "....x.......x...", SHAKER: "xoxoxoxoxoxoxoxo"}, (70, 125)),
    "bossa": Feel(
        TRAINING, "4/4", {KICK: "x..xx..xx..xx..x", RIM: "x..x..x...x..x..", CLOSED: "xxxxxxxxxxxxxxxx"}, (75, 110)
    ),
    "one drop": Feel(
        TRAINING, "4/4", {KICK: "........x.......", RIM: "........x.......", CLOSED: "x.x.x.x.x.x.x.x."}, (65, 95)
    ),
    "syncopated electro": Feel(
        TRAINING, "4/4", {KICK: "x..x..x...x..x..", CLAP: "....x.......x...", CLOSED: "..x...x...x.x.x."}
    ),
    "march": Feel(TRAINING, "2/4", {KICK: "x...x...", SNARE: "..x.x.xx"}, (80, 130)),
    "oom-pah-pah": Feel(TRAINING, "3/4", {KICK: "x.....", SNARE: "..x.x.", CLOSED: "x.x.x."}, (85, 185)),
    "slow waltz": Feel(TRAINING, "3/4", {KICK: "x.....", RIM: "....x.", RIDE: "x.x.xo"}, (75, 130)),
    "slow six": Feel(TRAINING, "6/8", {KICK: "x....x", SNARE: "...x..", CLOSED: "xoxxox"}, (45, 90)),
    "five, three and two": Feel(
        TRAINING, "5/4", {KICK: "x.....x...", SNARE: "..x.....x.", RIDE: "x.x.x.x.x."}, (95, 180)
    ),
    "seven quarters": Feel(
        TRAINING, "7/4", {KICK: "x.......x.....", SNARE: "..x...x...x.x.", CLOSED: "x.x.x.x.x.x.x."}, (95, 170)
    ),
    "seven eighths, 2 2 3": Feel(TRAINING, "7/8", {KICK: "x...x..", SNARE: "..x...x", CLOSED: "xxxxxxx"}, (170, 250)),
    # held back
    "pop": Feel(HELD_BACK, "4/4", {KICK: "x......xx.......", SNARE: "....x.......x...", CLOSED: "x.x.x.x.x.x.x.o."}),
    "house": Feel(
        HELD_BACK,
        "4/4",
        {KICK: "x...x...x...x...", SNARE: "....x.......x...", OPEN: "..x...x...x...x.", SHAKER: "oooxoooxoooxooox"},
        (115, 130),
    ),
    "half-time trap": Feel(
        HELD_BACK, "4/4", {KICK: "x.....x..x......", CLAP: "........x.......", CLOSED: "x.x.x.x.xxx.x.xx"}, (120, 165)
    ),
    "double-time train": Feel(HELD_BACK, "4/4", {KICK: "x...x...x...x...", SNARE: "ooxoooxoooxoooxo"}, (75, 115)),
    "offbeat tambourine": Feel(
        HELD_BACK, "4/4", {KICK: "x.........x.....", SNARE: "....x.......x...", TAMBOURINE: "..x...x...x...x."}
    ),
    "swing ride": Feel(
        HELD_BACK,
        "4/4",
        {KICK: "o...o...o...o...", RIDE: "x...x.x.x...x.x.", CLOSED: "....x.......x..."},
        (100, 190),
        0.16,
    ),
    "jungle": Feel(
        HELD_BACK, "4/4", {KICK: "x..x......x..x..", SNARE: "....x..o..o.x...", RIDE: "x.x.x.x.x.x.x.x."}, (100, 175)
    ),
    "kickless brushes": Feel(HELD_BACK, "4/4", {SNARE: "o.o.x.o.o.o.x.o.", RIDE: "x...x...x...x..."}, (70, 140)),
    "son clave": Feel(
        HELD_BACK, "4/4", {RIM: "x..x..x...x.x...", CONGA: "..x...xx..x...xx", KICK: "......x.......x."}, (80, 115)
    ),
    "rockers": Feel(
        HELD_BACK, "4/4", {KICK: "x...x...x...x...", SNARE: "........x.......", OPEN: "..o...o...o...o."}, (65, 95)
    ),
    "funk": Feel(
        HELD_BACK, "4/4", {KICK: "x.x....x..x..x..", SNARE: "....x..o.o..x..o", CLOSED: "xoxoxoxoxoxoxoxo"}, (85, 120)
    ),
    "polka": Feel(HELD_BACK, "2/4", {KICK: "x...x...", SNARE: "..x...x.", CLOSED: "x.x.x.x."}, (85, 135)),
    "country waltz": Feel(HELD_BACK, "3/4", {KICK: "x.....", CLOSED: "..x.x.", RIM: "..x.x."}, (85, 185)),
    "jazz waltz": Feel(HELD_BACK, "3/4", {KICK: "x.....", RIDE: "x.xx.x", CLOSED: "..x..."}, (100, 180), 0.16),
    "jig": Feel(HELD_BACK, "6/8", {TOM: "x.oxxo", TAMBOURINE: "x..x.."}, (70, 125)),
    "five, two and three": Feel(
        HELD_BACK, "5/4", {KICK: "x...x.....", SNARE: "..x.....x.", CLOSED: "x.x.x.x.x."}, (95, 180)
    ),
    "seven quarters, rim": Feel(
        HELD_BACK, "7/4", {KICK: "x.....x.......", RIM: "....x.....x.x.", RIDE: "x.x.x.x.x.x.x."}, (95, 170)
    ),
    "seven eighths, 3 2 2": Feel(HELD_BACK, "7/8", {KICK: "x..x...", SNARE: "..x..x.", CLOSED: "xxxxxxx"}, (170, 250)),
}


@dataclass(frozen=True)
class Figure:
    """How chords are struck.

    Attributes
    ----------
    starts : when, as shares of a beat, within each beat that is played
    beats : "all", "first" of the chord, "others" than the first of the bar, or "even": every second
    notes : which of the chord's notes at each start, lowest first, and counted from the lowest again where it has
        fewer; empty for all of them
    length : how long, in beats; 0 for as long as the chord lasts
    bass : "root" once a chord, "beats" root and fifth on every beat, "walking", or "" for none
    """

    split: str
    starts: tuple[float, ...]
    beats: str
    notes: tuple[tuple[int, ...], ...]
    length: float
    bass: str


FIGURES = {
    "held": Figure(TRAINING, (0.0,), "first", (), 0, "root"),
    "alberti": Figure(TRAINING, (0.0, 0.5), "all", ((0,), (2,), (1,), (3,)), 0.5, ""),
    "oom-pah": Figure(TRAINING, (0.0,), "others", (), 0.5, "root"),
    "strummed eighths": Figure(TRAINING, (0.0, 0.5), "all", (), 0.5, "root"),
    "quarters": Figure(TRAINING, (0.0,), "all", (), 0.9, "beats"),
    "arpeggio": Figure(HELD_BACK, (0.0, 0.5), "all", ((0,), (1,), (2,), (3,)), 1.0, "root"),
    "offbeats": Figure(HELD_BACK, (0.5,), "all", (), 0.3, "beats"),
    "broken": Figure(HELD_BACK, (0.0, 0.25, 0.5, 0.75), "all", ((3,), (1,), (0,), (2,)), 0.25, "root"),
    "halves": Figure(HELD_BACK, (0.0,), "even", (), 1.9, "walking"),
    "charleston": Figure(HELD_BACK, (0.0, 0.5), "even", (), 0.4, "walking"),
}
