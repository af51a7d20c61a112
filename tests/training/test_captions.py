"""Captions: from texts, names of files, and what is heard."""

from pathlib import Path

import pytest

from musicgen_service.training import captions
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.sources import SongFile


def song(name: str = "a.wav", text: str | None = None, kind: str = "txt") -> SongFile:
    return SongFile(name, Path(name), text, kind)


def test_text_beside_a_song_is_its_description() -> None:
    assert captions.own_text(song(text="  lofi piano,\n rainy ")) == "lofi piano, rainy"
    assert captions.own_text(song(text='{"caption": "house"}', kind="json")) == "house"
    assert captions.own_text(song(text='{"prompt": "techno", "bpm": 3}', kind="json")) == "techno"
    assert captions.own_text(song(text='"ambient"', kind="json")) == "ambient"
    assert captions.own_text(song(text='"half \\ud83d of it"', kind="json")) == "half ? of it"
    assert captions.own_text(song(text=" \n")) is None
    assert captions.own_text(song()) is None


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"bpm": 3}', '{"caption": 3}'])
def test_json_without_a_description_is_told(text: str) -> None:
    with pytest.raises(TrainingError, match=r"The \.json beside a\.wav"):
        captions.own_text(song(text=text, kind="json"))


def test_overlong_description_is_told() -> None:
    with pytest.raises(TrainingError, match=r"The description of a\.wav has 5000 characters; 4000 are allowed"):
        captions.own_text(song(text="x" * 5000))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("Album/03 - Summer_night.mp3", "Summer night"),
        ("7. rain.wav", "rain"),
        ("1999.wav", "1999"),
        ("a-b.c.ogg", "a b.c"),
    ],
)
def test_name_of_a_file_becomes_words(name: str, text: str) -> None:
    assert captions.from_name(song(name)) == text


def test_what_is_heard_is_added_where_it_is_not_said() -> None:
    assert captions.complete("jazz", 119.6, "A minor", "4/4") == "jazz, 120 bpm, a minor"
    assert captions.complete("jazz", 120.0, "A minor", "3/4") == "jazz, 120 bpm, a minor, 3/4"
    assert (
        captions.complete("jazz in C# minor, 90 bpm, waltz", 120.0, "A minor", "3/4")
        == "jazz in C# minor, 90 bpm, waltz"
    )
    assert captions.complete("jazz in C#m", 120.0, "A minor", "4/4") == "jazz in C#m, 120 bpm"
    assert captions.complete("", None, None, None) == ""


@pytest.mark.parametrize(
    ("caption", "semitones", "moved"),
    [
        ("lofi, a minor, 90 bpm", 2, "lofi, b minor, 90 bpm"),
        ("in F# major", 1, "in G major"),
        ("Bb minor", -1, "A minor"),
        ("B-flat major and c sharp minor", 2, "C major and eb minor"),
        ("a major hit", 1, "bb major hit"),
        ("no key", 2, "no key"),
        ("house in Am, F#m and Bbm", 1, "house in Bbm, Gm and Bm"),
        ("I am at 5 PM, Gm7 or Dmaj", 2, "I am at 5 PM, Gm7 or E maj"),
    ],
)
def test_keys_follow_a_change_of_pitch(caption: str, semitones: int, moved: str) -> None:
    assert captions.transposed(caption, semitones).lower() == moved.lower()


def test_trigger_comes_first() -> None:
    assert captions.with_trigger("in mystyle", "jazz") == "in mystyle, jazz"
    assert captions.with_trigger(None, "jazz") == "jazz"
    assert captions.with_trigger("in mystyle", "") == "in mystyle"


@pytest.mark.parametrize(
    ("trigger", "text", "left"),
    [
        ("in mystyle", "jazz,  In  MyStyle, 90 bpm", "jazz, 90 bpm"),
        ("in mystyle", "a song in mystyle with drums", "a song with drums"),
        ("sks", "sks", ""),
        ("sks", "tasks,  and more", "tasks,  and more"),
        ("my+style", "my+style, jazz", "jazz"),
        (None, "jazz", "jazz"),
    ],
)
def test_a_trigger_is_taken_out_of_descriptions(trigger: str | None, text: str, left: str) -> None:
    assert captions.without_trigger(trigger, text) == left
