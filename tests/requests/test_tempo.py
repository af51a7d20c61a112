"""Tempi named in prompts, and the time it takes to find them."""

import time

import pytest

from musicgen_service.requests import tempo

ONE: dict[str, float] = {
    # the unit after the number
    "jazz, 120 bpm": 120,
    "jazz 120bpm": 120,
    "120BPM": 120,
    "JAZZ AT 120 BPM": 120,
    "128-bpm techno": 128,
    "128\u2011BPM techno": 128,
    "120BPMs": 120,
    "at 120 BPM's": 120,
    "124 b.p.m.": 124,
    "124 B. P. M. house": 124,
    "124 b p m": 124,
    "120 bmp": 120,
    "120bpm-ish": 120,
    "120-ish bpm": 120,
    "120+ bpm": 120,
    "~120 bpm": 120,
    "ca. 120 bpm": 120,
    "slow (60 BPM)": 60,
    "(120) bpm": 120,
    "[90bpm] boom bap": 90,
    "120 (bpm)": 120,
    "120_bpm": 120,
    "120\n bpm": 120,
    "a 120 bpm": 120,
    "techno120bpm": 120,
    "- 120 bpm": 120,
    "-120 bpm": 120,
    "house - 120 bpm": 120,
    "120 beats per minute": 120,
    "120 beats/min": 120,
    "120 beats / minute": 120,
    "120 beats-per-minute": 120,
    "120 beats a minute": 120,
    "120 beats to the minute": 120,
    "120 per minute": 120,
    "120/min": 120,
    # numbers as people write them
    "124,5 bpm": 124.5,
    "techno, 124,5 bpm": 124.5,
    "87.5bpm": 87.5,
    "87½ bpm": 87.5,
    "124,500 bpm": 124.5,
    "1,200 bpm": 1200,
    "１２０ bpm": 120,
    "１２０ｂｐｍ": 120,
    "١٢٠ bpm": 120,
    # a name before it
    "BPM: 120": 120,
    "jazz (BPM: 120)": 120,
    "bpm=128": 128,
    "bpm 120": 120,
    "bpm120": 120,
    "bpm - 124": 124,
    "BPM of 124": 124,
    "bpm of around 124": 124,
    "BPM is 124": 124,
    "bpm (124)": 124,
    "BPM -> 124": 124,
    "bpm = ~124": 124,
    "**BPM:** 124": 124,
    '{"bpm": 124}': 124,
    "tempo (bpm): 124": 124,
    "beats per minute: 120": 120,
    "tempo 124": 124,
    "tempo: 124": 124,
    "tempo=98": 98,
    "tempo of 98": 98,
    "slow tempo 70": 70,
    "up-tempo 140 ska": 140,
    "uptempo 140 ska": 140,
    "with the tempo set to 140": 140,
    "tempo 120 bpm": 120,
    "at 120 tempo": 120,
    "♩=120": 120,
    "♩ = 120": 120,
    "quarter note = 120": 120,
    "M.M. 96": 96,
    "half-time 140": 140,
    "halftime at 140": 140,
    "double-time 70": 70,
    "140 half-time dubstep": 140,
    # other languages
    "120 Schläge pro Minute": 120,
    "120 pulsations par minute": 120,
    "120 battements par minute": 120,
    "120 pulsaciones por minuto": 120,
    "120 batidas por minuto": 120,
    "120 battiti al minuto": 120,
    "120 slagen per minuut": 120,
    "120 ударов в минуту": 120,
    "Tempo von 120": 120,
    "テンポ120": 120,
    "速いテンポ120": 120,
    "每分钟120拍": 120,
    # beside other numbers
    "90s rave at 140 bpm": 140,
    "140 bpm 90s rave": 140,
    "808 trap, 70 bpm": 70,
    "TR-909, 128 bpm": 128,
    "4/4 120 bpm": 120,
    "3/4, 90 bpm": 90,
    "120 bpm, 4/4": 120,
    "6/8 at 90 bpm": 90,
    "tempo 124 juno 106": 124,
    "track 3 - 120 bpm": 120,
    "2024 - 120 bpm": 120,
    "sonata no 5, bpm 120": 120,
    "sonata 5 bpm 120": 120,
    "808 bpm 120": 120,
    "blink-182 and 150 bpm": 150,
    "at 90 bpm to 90 bpm": 90,
    "90 bpm, 90 BPM": 90,
    "between 120 and 130 bpm, best 125 bpm": 125,
    # out of every bound, yet said
    "1999 bpm": 1999,
    "low bpm: 808": 808,
    "0 bpm": 0,
    "5 bpm": 5,
}

NONE = [
    "high bpm 90s rave",
    "low bpm 808 trap",
    "high bpm 90's rave",
    "high bpm 303 and 909 loops",
    "high BPM, 60 second loop",
    "high bpm 60 seconds",
    "fast bpm",
    "bpm",
    "mid-tempo 80s pop",
    "slow tempo 1980s ballad",
    "tempo 50% slower",
    "tempo of 4/4",
    "tempo: 3/4 waltz",
    "tempo 2x",
    "tempo x2",
    "808",
    "808 drums",
    "90s",
    "80s synthwave",
    "4/4",
    "6/8 jig",
    "2024",
    "TR-909",
    "tempo TR-909",
    "blink-182 style",
    "a song from 1999",
    "a sus4 chord, a7, 12-bar blues",
    "440 Hz",
    "120 beats",
    "128 kbps mp3",
    "100% techno",
    "piano in a minor, wait a minute 120 times",
    "120 attempts",
    "5.1.2 bpm",
    "9999999999 bpm",
    "高速bpm 90年代",
    "techno, 130",
    "",
    "   ",
    "rock",
]

RANGES: dict[str, tuple[float, float]] = {
    "120-130 bpm": (120, 130),
    "120-130 bpm house": (120, 130),
    "120 - 130bpm": (120, 130),
    "120–130 BPM": (120, 130),
    "120~130 bpm": (120, 130),
    "120 to 130 bpm": (120, 130),
    "130-120 bpm": (120, 130),
    "120bpm-130bpm": (120, 130),
    "from 90 bpm to 120 bpm": (90, 120),
    "between 120 and 130 bpm": (120, 130),
    "bpm 120 to 130": (120, 130),
    "bpm between 120 and 130": (120, 130),
    "BPM: 120-130": (120, 130),
    "bpm range 120-130": (120, 130),
    "tempo 120..130": (120, 130),
    "tempo from 120 to 130": (120, 130),
    "120 … 130 bpm": (120, 130),
    "122,5-124,5 bpm": (122.5, 124.5),
    "120 bis 130 bpm": (120, 130),
    "zwischen 120 und 130 Schläge pro Minute": (120, 130),
    "entre 120 et 130 bpm": (120, 130),
    "de 120 a 130 bpm": (120, 130),
    "120-130 beats per minute": (120, 130),
}

CONFLICTS: dict[str, list[float]] = {
    "120 BPM drum & bass at 87.5bpm": [120, 87.5],
    "120 bpm, then 140 bpm": [120, 140],
    "120 / 60 bpm": [120, 60],
    "120/60 bpm": [120, 60],
    "120 or 140 bpm": [120, 140],
    "120bpm and 140bpm": [120, 140],
    "tempo 90, later 174 bpm": [90, 174],
    "bpm: 120 tempo: 90": [120, 90],
}


@pytest.mark.parametrize("prompt", ONE)
def test_one_tempo(prompt: str) -> None:
    assert tempo.read(prompt) == (tempo.Tempo(ONE[prompt], ONE[prompt]),)


@pytest.mark.parametrize("prompt", NONE)
def test_no_tempo(prompt: str) -> None:
    assert tempo.read(prompt) == ()


@pytest.mark.parametrize("prompt", RANGES)
def test_a_range(prompt: str) -> None:
    assert tempo.read(prompt) == (tempo.Tempo(*RANGES[prompt]),)


@pytest.mark.parametrize("prompt", CONFLICTS)
def test_several_tempi(prompt: str) -> None:
    assert tempo.read(prompt) == tuple(tempo.Tempo(bpm, bpm) for bpm in CONFLICTS[prompt])


def test_a_tempo_in_words() -> None:
    assert tempo.listed(tempo.read("90 bpm, 120-130 bpm")) == "90 bpm and 120 to 130 bpm"
    many = tempo.read(", ".join(f"{bpm} bpm" for bpm in range(60, 70)))
    assert tempo.listed(many) == "60 bpm and 61 bpm and 62 bpm and 7 more"


REPEATED = [
    *("1", "1 ", "1,", "1.", "1-", "1/", " ", "a", "a ", "-", "beats", "beats ", "beats -", "beat", "beats per "),
    *(
        "bpm",
        "bpm ",
        "bpm 1 ",
        "120 bpm ",
        "120 to ",
        "120-",
        "tempo ",
        "tempo 120 ",
        "120 (",
        "♩=",
        "½",
        "１",
        "\ufdfa",
    ),
]


@pytest.mark.parametrize("text", REPEATED)
def test_reading_time_is_linear_in_prompt_length(text: str) -> None:
    def seconds(length: int) -> float:
        prompt = (text * length)[:length]
        best = float("inf")
        for _ in range(5):
            start = time.thread_time()
            tempo.read(prompt)
            best = min(best, time.thread_time() - start)
        return best

    # Eight times the length; what is quadratic would take 64 times as long.
    assert seconds(32_000) < 24 * seconds(4_000) + 0.01
