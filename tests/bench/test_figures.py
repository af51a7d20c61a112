"""What the figures of bench/hearing say of readings whose quality is known."""

import numpy as np
import pytest

from bench import figures
from bench.annotated import Annotated
from bench.readers import Heard

BEATS = np.arange(0.5, 10.0, 0.5)


def clip(
    tempo: float = 120.0,
    beats: np.ndarray | None = BEATS,
    key: str | None = "C major",
    chords: tuple[tuple[float, float, str], ...] | None = ((0.0, 4.0, "C:maj"), (4.0, 6.0, "X"), (6.0, 10.0, "G:7")),
) -> Annotated:
    def read() -> tuple[np.ndarray, int]:
        return np.zeros(1, np.float32), 1

    return Annotated("clip", "group", read, tempo, beats, None if beats is None else beats[::4], key, chords)


def heard(
    tempo: float = 120.0,
    beats: np.ndarray = BEATS,
    confidence: float = 1.0,
    key: str = "C major",
    chords: tuple[tuple[float, float, str], ...] = ((0.0, 5.0, "C:maj"), (5.0, 10.0, "G:7")),
) -> Heard:
    return Heard(tempo, beats, beats[::4], confidence, key, confidence, chords)


def test_a_reading_that_is_right_has_all_points() -> None:
    table = figures.table([(clip(), heard())])
    for row in ("tempo within 4 %", "beats F", "beats AMLt", "downbeats F", "key, weighted", "chords, sevenths"):
        assert table[row] == "1.00 (1)"
    assert table["no chord in tonal time"] == "0.00 (1)"


@pytest.mark.parametrize(
    ("tempo", "exact", "octave"), [(122.0, "1.00", "1.00"), (60.0, "0.00", "1.00"), (80.0, "0.00", "0.00")]
)
def test_half_a_tempo_is_an_octave_off(tempo: float, exact: str, octave: str) -> None:
    table = figures.table([(clip(), heard(tempo))])
    assert table["tempo within 4 %"].startswith(exact) and table["tempo, or an octave off"].startswith(octave)


def test_beats_between_the_beats_have_no_points_but_their_level() -> None:
    table = figures.table([(clip(), heard(beats=BEATS + 0.25))])
    assert table["beats F"] == "0.00 (1)" and table["beats AMLt"] > "0.9"


def test_unnamed_time_does_not_count_and_a_seventh_is_more_than_its_triad() -> None:
    table = figures.table([(clip(), heard(chords=((0.0, 6.0, "C:maj"), (6.0, 10.0, "G:maj"))))])
    assert table["chords, major and minor"] == "1.00 (1)"
    assert table["chords, sevenths"] == "0.50 (1)"


def test_no_chord_and_chords_where_there_are_none_are_counted_apart() -> None:
    half = heard(chords=((0.0, 5.0, "N"), (5.0, 10.0, "G:7")))
    assert figures.table([(clip(), half)])["no chord in tonal time"] == "0.50 (1)"
    drums = clip(key=None, chords=((0.0, 10.0, "N"),))
    table = figures.table([(drums, half)])
    assert table["chords where there are none"] == "0.50 (1)"
    assert not {"key, weighted", "chords, sevenths", "no chord in tonal time"} & table.keys()


def test_a_clip_without_a_beat_is_read_rightly_without_confidence() -> None:
    speech = clip(tempo=0.0, beats=None, key=None, chords=None)
    assert figures.table([(speech, heard(confidence=0.1))])["no beat where there is none"] == "1.00 (1)"
    assert figures.table([(speech, heard(confidence=0.9))])["no beat where there is none"] == "0.00 (1)"


def test_confidences_that_are_as_often_right_as_they_say_are_calibrated() -> None:
    right, wrong = heard(confidence=0.5), heard(beats=BEATS + 0.25, confidence=0.5)
    honest = figures.table([(clip(), right), (clip(), wrong)])["calibration of beats"]
    boasting = figures.table([(clip(), wrong), (clip(), wrong)])["calibration of beats"]
    assert honest == "0.00 (-/-/.5/-/-)" and boasting == "0.50 (-/-/.0/-/-)"


def test_a_line_says_what_was_heard_in_a_clip() -> None:
    assert "key C major C major" in figures.line(clip(), heard())
    assert "beats -" in figures.line(clip(beats=None), heard())
