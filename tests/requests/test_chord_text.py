"""Progressions as people write them, read into bars of chords, or refused with a sentence that names the bar."""

import contextlib
import time
from pathlib import Path

import pytest

from musicgen_service.requests.chord_text import ChordTextError, Part, read

TABLE = [
    line.split("\t")
    for line in (Path(__file__).parents[1] / "data/chords/spellings.txt").read_text().splitlines()
    if not line.startswith("#")
]
SPELLINGS = [(text, expected) for text, expected in TABLE if not expected.startswith("!")]
MISTAKES = [(text, expected[1:]) for text, expected in TABLE if expected.startswith("!")]


def written(bar: tuple[Part, ...]) -> str:
    """A bar as in the table."""
    assert bar[0].start == 0 and bar[-1].end == 1
    lengths = [part.end - part.start for part in bar]
    is_equal = len(set(lengths)) == 1
    return " ".join(
        part.label if is_equal else f"{part.label}@{length}" for part, length in zip(bar, lengths, strict=True)
    )


@pytest.mark.parametrize(("text", "expected"), SPELLINGS)
def test_spelling_is_read(text: str, expected: str) -> None:
    assert " | ".join(map(written, read(text).bars)) == expected


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistake_is_one_sentence_that_names_it_and_its_bar(text: str, expected: str) -> None:
    with pytest.raises(ChordTextError) as caught:
        read(text)
    sentence = str(caught.value)
    assert sentence.startswith(expected) and sentence.endswith(".") and len(sentence) < 300


def test_table_has_two_hundred_spellings_and_forty_mistakes() -> None:
    assert len(TABLE) >= 200 and len(MISTAKES) >= 40
    assert len({text for text, _ in TABLE}) == len(TABLE)


def test_a_progression_is_read_as_it_is_printed() -> None:
    assert str(read("|: Am7 F/A | B° N.C. :| G in C major")) == "Am7 F/A | Bdim N.C. | Am7 F/A | Bdim N.C. | G"
    for text, _ in SPELLINGS:
        labels = [[part.label for part in bar] for bar in read(text).bars]
        assert [[part.label for part in bar] for bar in read(f"| {read(text)} |").bars] == labels


@pytest.mark.parametrize(("text", "key"), [("ii V in Eb", "Eb major"), ("Am: i", "A minor"), ("Am F", "None")])
def test_key_that_a_text_names_is_kept(text: str, key: str) -> None:
    assert str(read(text).key) == key


@pytest.mark.parametrize(
    "text",
    [
        "C " * 2000,
        "C," * 2000,
        "|" * 4000,
        "(" * 4000,
        "C" + "#" * 3999,
        "|:C:|x99" * 500,
        "-" * 4000,
        " " * 4000,
        "la" + " " * 20_000 + "x",
        "C" + "#9" * 10_000 + "x",
    ],
)
def test_time_is_proportional_to_the_length(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ChordTextError):
        read.__wrapped__(text)
    assert time.process_time() - began < 1
