"""Time signatures: what a beat is, and how long a bar."""

import pytest

from musicgen_service.requests.time_signature import read
from tests.support.requests import problems, resolve


@pytest.mark.parametrize(
    ("text", "beats", "seconds"),
    [
        *(("4/4", 4, 2.0), ("3/4", 3, 1.5), ("5/4", 5, 2.5), ("6/4", 6, 3.0), ("2/2", 2, 1.0)),
        *(("7/8", 7, 3.5), ("3/8", 3, 1.5)),
        *(("6/8", 2, 1.0), ("9/8", 3, 1.5), ("12/8", 4, 2.0), (" 6 / 8 ", 2, 1.0)),
    ],
)
def test_tempo_counts_notes_and_in_compound_metres_three_of_them(text: str, beats: int, seconds: float) -> None:
    assert read(text).beats == beats
    assert read(text).bar_seconds(120) == seconds


def test_without_one_it_is_four_four() -> None:
    assert str(read(None)) == "4/4"


@pytest.mark.parametrize("text", ["4", "4/3", "0/4", "17/4", "4/32", "-3/4", "3/4/4", "waltz", "３/４", "4/4" * 99])
def test_other_texts_are_refused(text: str) -> None:
    assert problems(text_chords="C", bpm=120, time_signature=text) == [
        f"time_signature must be 1 to 16 over 1, 2, 4, 8 or 16, such as 3/4, not '{text[:20]}'."
    ]


def test_sections_have_bars_of_the_time_signature() -> None:
    request = resolve(prompt="jazz", bpm=120, time_signature="6/8", sections="a 8 bars: piano\nb 4 bars: drums")
    assert [part.end for part in request.parts] == [8.0, 12.0]
