"""The tempo of a request: bpm, the prompt, and loops, which need one."""

import pytest

from musicgen_service import notes
from musicgen_service.requests.fields import FIELDS
from musicgen_service.requests.tasks import TASKS
from tests.support.requests import problems, resolve


@pytest.mark.parametrize("prompt", ["jazz, 120 bpm", "jazz 120bpm", "jazz (BPM: 120)", "jazz at 120 beats per minute"])
def test_a_loop_takes_its_tempo_from_bpm_or_the_prompt(prompt: str) -> None:
    named = resolve(task="loop", prompt=prompt)
    assert (named.bpm, named.description) == (120, prompt)
    given = resolve(task="loop", prompt="jazz", bpm=120)
    assert (given.bpm, given.description) == (120, "jazz, 120 bpm")
    assert resolve(task="loop", bpm=60.23).description == "60.23 bpm"


def test_a_loop_needs_a_tempo() -> None:
    assert problems(task="loop", prompt="jazz") == [
        "Task 'loop' needs bpm, from 40 to 300, or a prompt that names a tempo, such as '120 bpm'."
    ]
    for bpm in (39, 301):
        [sentence] = problems(task="loop", prompt=f"jazz, {bpm} bpm")
        assert sentence == f"The prompt says {bpm} bpm; a loop's tempo may be from 40 to 300 bpm."


@pytest.mark.parametrize("seconds", [1.9, 20.1])
def test_loop_duration_has_its_own_bounds(seconds: float) -> None:
    assert problems(task="loop", bpm=120, prompt="jazz", duration=seconds) == [
        f"For task 'loop' duration is the longest that the loop may be, from 2 to 20 s, not {seconds} s."
    ]


def test_every_allowed_loop_fits_a_beat_of_every_tempo() -> None:
    slowest = FIELDS["bpm"].minimum
    allowed = TASKS["loop"].duration
    assert slowest is not None and allowed is not None and 60 / slowest <= allowed[0]


def test_bpm_is_added_to_the_description_once() -> None:
    assert resolve(prompt="jazz", bpm=92).description == "jazz, 92 bpm"
    assert resolve(prompt="jazz, 92 BPM", bpm=92).description == "jazz, 92 BPM"
    assert resolve(prompt="jazz").description == "jazz"


def test_bpm_and_prompt_do_not_contradict() -> None:
    assert problems(prompt="jazz at 120 bpm", bpm=90) == [
        "The prompt says 120 bpm but bpm is 90: leave one of them out."
    ]


@pytest.mark.parametrize(
    ("prompt", "bpm", "description"),
    [
        ("high bpm 90s rave", 140, "high bpm 90s rave, 140 bpm"),
        ("low bpm 808 trap", 140, "low bpm 808 trap, 140 bpm"),
        ("128-bpm techno", 128, "128-bpm techno"),
        ("techno, tempo 124", 124, "techno, tempo 124"),
        ("techno, 124,5 bpm", 124.5, "techno, 124,5 bpm"),
        ("120-130 bpm house", 125, "120-130 bpm house, 125 bpm"),
        ("120 BPM drum & bass at 87.5bpm", 87.5, "120 BPM drum & bass at 87.5bpm, 87.5 bpm"),
    ],
)
def test_description_contains_one_tempo(prompt: str, bpm: float, description: str) -> None:
    assert resolve(prompt=prompt, bpm=bpm).description == description
    assert resolve(task="loop", prompt=prompt, bpm=bpm).description == description


@pytest.mark.parametrize(
    ("prompt", "bpm", "tempi"),
    [
        ("tempo 124", 140, "124 bpm"),
        ("120-130 bpm house", 150, "120 to 130 bpm"),
        ("120 bpm, later 90 bpm", 100, "120 bpm and 90 bpm"),
    ],
)
def test_bpm_must_match_the_tempo_of_the_prompt(prompt: str, bpm: float, tempi: str) -> None:
    assert problems(prompt=prompt, bpm=bpm) == [f"The prompt says {tempi} but bpm is {bpm:g}: leave one of them out."]


def test_loop_uses_the_middle_of_a_tempo_range() -> None:
    with notes.collected() as sentences:
        request = resolve(task="loop", prompt="120-131 bpm house")
    assert (request.bpm, request.description) == (125.5, "120-131 bpm house, 125.5 bpm")
    assert sentences == ["The prompt says 120 to 131 bpm; 125.5 bpm is used."]


def test_two_tempi_are_rejected_for_a_loop_and_noted_otherwise() -> None:
    prompt = "120 BPM drum & bass at 87.5bpm"
    assert problems(task="loop", prompt=prompt) == [
        "The prompt says 120 bpm and 87.5 bpm, and a loop has one tempo: say which with bpm."
    ]
    with notes.collected() as sentences:
        assert resolve(prompt=prompt).description == prompt
    assert sentences == ["The prompt says 120 bpm and 87.5 bpm, and the music may follow any of them."]


@pytest.mark.parametrize("prompt", ["808 trap", "high bpm 90s rave", "4/4"])
def test_plain_number_is_not_a_loop_tempo(prompt: str) -> None:
    assert "needs bpm" in problems(task="loop", prompt=prompt)[0]
