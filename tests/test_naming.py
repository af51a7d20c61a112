"""Names of files: what a musician looks for, in letters that every file system and address takes."""

import re
from typing import Any

import pytest

from musicgen_service import naming
from musicgen_service.audio.music import Music
from musicgen_service.inputs import served_files
from musicgen_service.requests.request import GenerationRequest


def request(**inputs: Any) -> GenerationRequest:
    return GenerationRequest.from_inputs({"seed": 7} | inputs, ["demo"])


def named(music: Music, number: int = 1, part: str = "", **inputs: Any) -> str:
    made = request(**inputs)
    return naming.file_name(made, music, naming.label(made, number, part))


HOUSE = Music(124.0, "A minor")


def test_a_name_has_prompt_tempo_key_and_seed() -> None:
    assert named(HOUSE, prompt="deep house") == "deep-house_124bpm_Am_s7.wav"
    assert named(Music(), prompt="deep house", output_format="mp3") == "deep-house_s7.mp3"


def test_variations_are_numbered_and_parts_named() -> None:
    assert named(HOUSE, 3, prompt="deep house", variations=4) == "deep-house_124bpm_Am_s7_03.wav"
    assert named(HOUSE, 3, "vocals", prompt="deep house", variations=4) == "deep-house_124bpm_Am_s7_03_vocals.wav"
    assert named(HOUSE, 1, "vocals", prompt="deep house") == "deep-house_124bpm_Am_s7_vocals.wav"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Deep House!", "deep-house"),
        ("lofi piano, 90 bpm, a minor", "lofi-piano-a-minor"),
        ("120-bpm techno", "techno"),
        ("café à Zürich", "cafe-a-zurich"),
        ("../../etc/passwd", "etc-passwd"),
        ("a_s9_02", "a-s9-02"),
        ("爵士", "text"),
        ("😀", "text"),
        ("x" * 4000, "x" * naming.SLUG_LENGTH),
        ("con", "con"),  # reserved by Windows where nothing follows it
    ],
)
def test_any_prompt_gives_a_safe_name(prompt: str, words: str) -> None:
    name = named(HOUSE, 2, "vocals", prompt=prompt, variations=2)
    assert name == f"{words}_124bpm_Am_s7_02_vocals.wav"
    assert served_files.NAME.fullmatch(name) and naming.label_in(name.partition(".")[0]) == "02_vocals"


@pytest.mark.parametrize(
    ("key", "letters"),
    [("C major", "C"), ("F# minor", "Gbm"), ("C# major", "Db"), ("Eb minor", "Ebm"), ("A minor", "Am")],
)
def test_keys_are_in_letters_alone(key: str, letters: str) -> None:
    assert named(Music(key=key), prompt="rock") == f"rock_{letters}_s7.wav"


def test_a_tempo_is_rounded() -> None:
    assert named(Music(97.3), prompt="rock") == "rock_97bpm_s7.wav"


@pytest.mark.parametrize("label", ["", "02", "vocals", "02_vocals"])
def test_the_label_is_found_in_a_name(label: str) -> None:
    assert naming.label_in("deep-house_124bpm_Am_s7" + (f"_{label}" if label else "")) == label
    assert naming.label_in("output-01") == naming.label_in("my_song") == ""


def test_files_that_a_request_would_replace_are_found_among_others() -> None:
    asked = request(prompt="deep house", bpm=124, variations=2, return_midi=True)
    mine = ["deep-house_124bpm_Am_s7_01.wav", "deep-house_s7_02.mid", "deep-house_Gb_s7_02.wav"]
    others = [
        "deep-house_124bpm_Am_s8_01.wav",
        "deep-house_s7_03.wav",
        "deep-house_s7_01.mp3",
        "deep-house-2_s7_01.wav",
    ]
    assert naming.among(asked, [*mine, *others]) == mine
    assert all(re.fullmatch(r"deep-house_s7_0[12]\.(wav|mid)", name) for name in naming.possible_names(asked))
