"""The sections of a piece: how lines are read, how long they are, and what the model is told in each."""

from typing import Any

import pytest

from musicgen_service.audio.reading import AudioInput
from musicgen_service.requests import sections, tempo
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.request import GenerationRequest
from tests.support.requests import problems, resolve


def times(text: str, prompt: str | None = "jazz", bpm: float | None = None) -> list[tuple[str, float, float]]:
    return [(section.name, section.start, section.end) for section in sections.read(text, prompt, bpm)]


def refused(text: str, prompt: str | None = None, bpm: float | None = None) -> list[str]:
    with pytest.raises(RequestError) as error:
        sections.read(text, prompt, bpm)
    return error.value.problems


@pytest.mark.parametrize(
    ("line", "name", "seconds"),
    [
        ("intro 8 s: soft piano", "intro", 8),
        ("intro 8s:soft piano", "intro", 8),
        ("intro (8 seconds): soft piano", "intro", 8),
        ("intro, 1.5 min: soft piano", "intro", 90),
        ("intro - 0,5 minutes: soft piano", "intro", 30),
        ("Verse 2 16 bars: drums join", "Verse 2", 32),
        ("Verse 2 – 1 BAR: drums join", "Verse 2", 2),
        ("3 measures: drums join", "section 1", 6),
        ("outro 4 bars", "outro", 8),
        ("intro 2 min 30 s: soft piano", "intro", 150),
        ("intro 2m30s: soft piano", "intro", 150),
        ("intro 1m: soft piano", "intro", 60),
        ("intro 1:30: soft piano", "intro", 90),
        ("0:08", "section 1", 8),
        ("intro 8 sec.: soft piano", "intro", 8),
        ("- intro 8 s: soft piano", "intro", 8),
        ("* **Intro** 8 s: soft piano", "Intro", 8),
        ("• [Intro] 8 s: soft piano", "Intro", 8),
        ("1. intro 8 s: soft piano", "intro", 8),
        ("## intro (8 s): soft piano", "intro", 8),
        ("\ufeffintro 8\u00a0s: soft piano", "intro", 8),
    ],
)
def test_a_line_has_a_name_a_length_and_words(line: str, name: str, seconds: float) -> None:
    assert times(line, bpm=120) == [(name, 0, seconds)]


@pytest.mark.parametrize(
    "text",
    [
        "a 8 s: x\nb 4 s: y",
        "a 8 s: x; b 4 s: y",
        "\r\na 8 s: x\r\n\r\n b 4 s: y\r\n;",
        "---\na 8 s: x\n\n---\nb 4 s: y",
    ],
)
def test_lines_end_at_a_line_break_or_a_semicolon(text: str) -> None:
    assert times(text) == [("a", 0, 8), ("b", 8, 12)]


def test_words_and_negative_words() -> None:
    line = "a 8 s: drums / percussion, 4/4: loud / not: vocals, piano"
    [section] = sections.read(line, None, None)
    assert (section.words, section.negative_words) == ("drums / percussion, 4/4: loud", "vocals, piano")
    [section] = sections.read("a 8 s / not: vocals".replace(" /", ": /"), "jazz", None)
    assert (section.words, section.negative_words) == (None, "vocals")


@pytest.mark.parametrize(
    ("line", "words", "negative_words", "chords"),
    [
        ("a 4 bars: drums / chords: Am F,G7 % C", "drums", None, "Am | F G7 | F G7 | C"),
        ("a 4 bars: / CHORDS : |: C:min7 / G:7 | Bb/D :| / not: flute", None, "flute", "Cm7 G7 | Bb/D | Cm7 G7 | Bb/D"),
        ("a 4 bars: / not: flute / chords: ii V I in C major", None, "flute", "Dm | G | C"),
        ("a 4 bars / chords: Am", None, None, "Am"),
        ("a 4 bars: chords: Am F x2", None, None, "Am | F | Am | F"),
        ("a 4 bars: drums chords: Am not: flute", "drums", "flute", "Am"),
        ("a 4 bars: drums", "drums", None, None),
    ],
)
def test_chords_of_a_section(line: str, words: str | None, negative_words: str | None, chords: str | None) -> None:
    [section] = sections.read(line, None, 120)
    assert (section.words, section.negative_words, section.bpm) == (words, negative_words, 120)
    assert (section.chords and str(section.chords)) == chords
    assert sections.name_chords(line) == (chords is not None)


def test_options_need_no_words_and_no_colon_before_them() -> None:
    [section] = sections.read("a 4 s / not: flute", "jazz", None)
    assert (section.words, section.negative_words) == (None, "flute")


@pytest.mark.parametrize(
    ("prompt", "bpm", "line", "seconds"),
    [
        (None, 90.0, "a 3 bars: x", 8),
        ("jazz, 90 bpm", None, "a 3 bars: x", 8),
        ("jazz, 80 to 100 bpm", 90.0, "a 3 bars: x", 8),
        ("jazz", None, "a 3 bars: 90 bpm", 8),
    ],
)
def test_bars_have_the_tempo_of_the_piece_or_else_of_their_own_words(
    prompt: str | None, bpm: float | None, line: str, seconds: float
) -> None:
    assert times(line, prompt, bpm) == [("a", 0, seconds)]


def test_bars_do_not_drift() -> None:
    text = ";".join(["4 bars: x"] * 50)
    assert times(text, bpm=97.3)[-1][2] == pytest.approx(200 * 4 * 60 / 97.3, abs=1e-9)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("intro: soft piano", "has no length before its words: write it like"),
        ("intro 8 pages: x", "has no length before its words"),
        ("intro 12345 s: x", "has no length before its words"),
        ("intro 8 s:", "has no words, and there is no prompt: give one of them."),
        ("intro 8 bars: x", "counts in bars, which needs one tempo: give bpm, or a prompt such as '120 bpm'."),
        ("intro 8 bars: 90 to 100 bpm", "counts in bars, which needs one tempo"),
        ("intro 0.9 s: x", "is 0.9 s long; a section has at least 1 s."),
        ("intro 2 min 30 bars: x", "has two lengths before its words"),
        ("0:08 intro: x", "has no length before its words"),
        ("intro 0:00: x", "is 0 s long; a section has at least 1 s."),
        ("intro 8 s: x, verse 1:30: y", "has another length, '1:30', among its words: begin a new line, or end it"),
        ("intro 8 s: x / nor: y", "has '/ nor:', but only '/ not:' or '/ chords:' is known (did you mean 'not'?)."),
        ("intro 8 s: x / chords: Am F", "has chords, which need one tempo: give bpm, or a prompt such as '120 bpm'."),
        ("intro 8 s: x, 90 bpm / chords: Am Q", "has chords that cannot be read: bar 2 has 'Q', which is no chord"),
        ("intro 8 s: x, 90 bpm / chords: |: C", "has chords that cannot be read: a repeat begins with '|:'"),
        ("intro 8 s: x / not: ", "has nothing after '/ not:'."),
        ("intro 8 s: x / not: y / not: z", "has '/ not:' twice: join them."),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_its_number(line: str, sentence: str) -> None:
    [problem] = refused(f"first 8 s: x\n\n{line}")
    assert problem.startswith(f"Line 3 of sections ('{line.strip()}') {sentence}")


def test_every_line_that_cannot_be_read_is_named() -> None:
    assert [problem[:18] for problem in refused("a; b 2 s: x; c")] == ["Line 1 of sections", "Line 3 of sections"]


def test_a_tempo_may_not_contradict_that_of_the_piece() -> None:
    assert refused("a 8 s: 90 bpm", "rock", 120) == [
        "Line 1 of sections ('a 8 s: 90 bpm') says 90 bpm, but the whole piece has 120 bpm: leave one of them out."
    ]
    assert times("a 8 s: 120 bpm", "rock", 120)


def test_the_tempo_of_the_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    original, seen = tempo.read, list[str]()

    def read(text: str) -> tuple[tempo.Tempo, ...]:
        seen.append(text)
        return original(text)

    monkeypatch.setattr(tempo, "read", read)
    assert times("a 1 bar: x\nb 1 bar: y\nc 1 bar: z", "120 bpm")[-1] == ("c", 4, 6)
    assert seen.count("120 bpm") == 1


def test_long_lines_are_quoted_in_part() -> None:
    [problem] = refused("x" * 4000)
    assert len(problem) < 200


def test_number_of_sections() -> None:
    assert len(times(";".join(["1 s: x"] * 50))) == 50
    assert refused(";".join(["1 s: x"] * 51)) == ["There are 51 sections; at most 50 are allowed."]
    assert refused("?\n" * 51) == ["There are 51 sections; at most 50 are allowed."]  # and none of them is read
    assert problems(sections=" ;\n;") == [
        "sections has no line with a section: write it like 'verse 16 bars: drums join' or 'intro 8 s: soft piano'."
    ]


FORM = "intro 8 s: soft piano; verse 16 bars: drums join / not: vocals"


def texts(request: GenerationRequest) -> list[tuple[str | None, str | None]]:
    return [request.described(part) for part in request.parts]


def test_sections_have_the_prompt_before_their_words_and_the_tempo_after_them() -> None:
    request = resolve(prompt="lofi", negative_prompt="noise", bpm=120, sections=FORM)
    assert texts(request) == [
        ("lofi, soft piano, 120 bpm", "noise"),
        ("lofi, drums join, 120 bpm", "noise, vocals"),
    ]
    assert texts(resolve(sections="a 8 s: piano\nb 4 s: jazz, 90 bpm")) == [("piano", None), ("jazz, 90 bpm", None)]
    assert resolve(prompt="lofi").parts == ()


def test_the_duration_follows_from_the_sections() -> None:
    request = resolve(bpm=120, sections=FORM)
    assert (request.task, request.duration) == ("text", 40)
    assert resolve(**request.as_inputs()).duration == 40
    assert problems(bpm=120, sections=FORM, duration=30) == [
        "The sections last 40 s in all, but duration is 30 s: leave it out."
    ]
    assert problems(sections="a 10 min: x; b 1 s: x") == ["The sections last 601 s in all; at most 600 s are allowed."]
    assert resolve(sections="a 10 min: x").duration == 600


def test_the_sections_of_a_continuation_begin_where_its_audio_ends(song: AudioInput) -> None:
    request = resolve(bpm=120, sections=FORM, input_audio=song, continuation=True, continuation_start=1)
    assert request.duration == 42
    assert request.section_times == [("intro", 2, 10), ("verse", 10, 42)]


@pytest.mark.parametrize("task", ["loop", "remix", "repaint", "encode-decode"])
def test_other_tasks_have_no_sections(task: str, song: AudioInput) -> None:
    inputs: dict[str, Any] = {} if task == "loop" else {"input_audio": song, "continuation_start": 1}
    assert problems(task=task, sections=FORM, **inputs | {"bpm": 120}) == [
        f"sections are for the tasks 'text', 'melody', 'chords', 'continuation', and task is '{task}': leave them out."
    ]


@pytest.mark.parametrize("text", ["", " \n"])
def test_blank_sections_are_none(text: str) -> None:
    assert resolve(prompt="jazz", sections=text).sections is None
