"""Audio as an input: files, parts of files, recordings, and clips that were made before."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.page.studio import Studio


def audio_of(inputs: dict[str, Any]) -> np.ndarray:
    """The samples that a request brings."""
    samples, _ = soundfile.read(io.BytesIO(inputs["input_audio"]), always_2d=True)
    return np.asarray(samples)


def draw(studio: Studio, start: float, end: float) -> None:
    """Draw a part on the waveform of the input, as shares of its width."""
    box = studio.page.locator("#create .audio-wave .wave").bounding_box()
    studio.page.mouse.move(box["x"] + start * box["width"], box["y"] + 20)
    studio.page.mouse.down()
    studio.page.mouse.move(box["x"] + end * box["width"], box["y"] + 30, steps=5)
    studio.page.mouse.up()


def part(studio: Studio) -> list[float]:
    """Where the part to use starts and ends, in seconds."""
    return [float(studio.field(f"continuation_{edge}").input_value()) for edge in ("start", "end")]


def test_a_file_is_dropped_and_followed(studio: Studio, song: Path) -> None:
    sent = studio.sent()
    studio.task("Melody")
    studio.drop(studio.page.locator("#create .audio-input"), song)
    studio.page.locator("#create .audio-wave .wave").wait_for()
    clip = studio.make(prompt="string quartet", duration=2)
    [inputs] = sent
    assert inputs["task"] == "melody" and len(audio_of(inputs)) == 4 * 32_000
    assert "continuation_start" not in inputs
    assert len(studio.sound(clip).samples) == 2 * 32_000


def test_a_region_becomes_the_part_to_use(studio: Studio, song: Path) -> None:
    sent = studio.sent()
    studio.task("Continue")
    assert not studio.field("continuation_start").is_visible()
    studio.choose_audio(song)
    draw(studio, 0.25, 0.5)
    assert float(studio.field("continuation_start").input_value()) == pytest.approx(1, abs=0.05)
    assert float(studio.field("continuation_end").input_value()) == pytest.approx(2, abs=0.05)
    clip = studio.make(duration=2)
    assert sent[0]["continuation_start"] == float(studio.field("continuation_start").input_value())
    assert len(studio.sound(clip).samples) == pytest.approx(2 * 32_000, abs=640)


def test_a_region_is_moved_and_stretched(studio: Studio, song: Path) -> None:
    studio.task("Continue")
    studio.choose_audio(song)
    draw(studio, 0.25, 0.5)
    draw(studio, 0.375, 0.625)  # from its middle
    assert part(studio) == [pytest.approx(value, abs=0.05) for value in (2, 3)]
    draw(studio, 0.75, 0.9)  # from its right edge
    assert part(studio) == [pytest.approx(value, abs=0.06) for value in (2, 3.6)]


def test_typed_seconds_are_shown_on_the_waveform(studio: Studio, song: Path) -> None:
    studio.task("Continue")
    studio.choose_audio(song)
    studio.fill(continuation_start=1, continuation_end=3)
    region = studio.page.locator("#create .region").bounding_box()
    wave = studio.page.locator("#create .audio-wave .wave").bounding_box()
    assert region["x"] - wave["x"] == pytest.approx(wave["width"] / 4, abs=2)
    assert region["width"] == pytest.approx(wave["width"] / 2, abs=2)
    assert "1 to 3 s of 4 s" in studio.page.locator("#create .audio-part").inner_text()


def test_the_microphone_is_recorded(studio: Studio) -> None:
    sent = studio.sent()
    studio.task("Melody")
    studio.page.get_by_role("button", name="Record").click()
    studio.page.get_by_text("Recording, 2 s").wait_for()
    studio.page.get_by_role("button", name="Stop").click()
    studio.page.locator("#create .audio-wave .wave").wait_for()
    assert "recording" in studio.page.locator(".audio-name").inner_text()
    clip = studio.make(prompt="flute", duration=1)
    assert b"webm" in sent[0]["input_audio"][:64] and len(studio.sound(clip).samples) == 32_000


def test_a_file_with_a_hostile_name_is_a_name(studio: Studio, song: Path, tmp_path: Path) -> None:
    hostile = tmp_path / '<img src=x onerror=alert(1)> "; rm -rf ~ #.wav'
    hostile.write_bytes(song.read_bytes())
    studio.task("Codec")
    studio.choose_audio(hostile)
    assert studio.page.locator(".audio-name").inner_text() == hostile.name
    clip = studio.make()
    studio.menu(clip, "More", "Code for this request")
    assert hostile.name not in studio.page.locator("dialog pre").inner_text()
    assert not studio.page.locator("img[src=x]").count()


def test_a_file_that_is_no_audio_is_refused_with_a_sentence(studio: Studio, tmp_path: Path) -> None:
    text = tmp_path / "song.mp3"
    text.write_text("<html>not a song</html>")
    studio.task("Melody")
    studio.page.locator("#create input[type=file]").set_input_files(text)
    studio.page.get_by_text("cannot show the waveform").wait_for()
    card = studio.generate(prompt="rock", duration=1)
    card.get_by_role("alert").wait_for()
    assert "input_audio cannot be used" in card.inner_text()
    studio.page.locator(".field-file .field-error", has_text="input_audio cannot be used").wait_for()


@pytest.mark.parametrize(
    ("action", "tab", "expected"),
    [
        ("Use as melody", "Melody", {"task": "melody"}),
        ("Continue from the end", "Continue", {"task": "continuation", "duration": 10}),
        ("Remix", "Remix", {"task": "remix"}),
    ],
)
def test_a_clip_becomes_an_input(studio: Studio, action: str, tab: str, expected: dict[str, Any]) -> None:
    clip = studio.make(prompt="house, 120 bpm", duration=2)
    studio.menu(clip, "Use", action)
    studio.page.get_by_role("tab", name=tab, selected=True).wait_for()
    studio.page.locator("#create .audio-wave .wave").wait_for()
    sent = studio.sent()
    with studio.page.expect_request(lambda request: request.method == "PUT"):
        card = studio.generate(prompt="rock")
    card.locator("article.clip .wave").wait_for()
    assert expected.items() <= sent[0].items()
    assert len(audio_of(sent[0])) == 2 * 32_000


def test_a_clip_goes_on_from_where_it_was_stopped(studio: Studio) -> None:
    studio.be_quiet()
    clip = studio.make(prompt="house, 120 bpm", duration=4)
    slider = clip.get_by_role("slider")
    for _ in range(2):
        slider.press("ArrowRight")
    studio.menu(clip, "Use", "Continue from here")
    studio.page.get_by_role("tab", name="Continue", selected=True).wait_for()
    assert studio.field("continuation_end").input_value() == "2"
    assert studio.field("duration").input_value() == "10"


def test_a_loop_is_made_of_a_clip(studio: Studio) -> None:
    clip = studio.make(prompt="techno, drums only, 130 bpm", duration=6, seed=3)
    clip.locator(".facts", has_text="bpm").wait_for()
    studio.menu(clip, "Use", "Make a loop of this")
    studio.page.get_by_role("tab", name="Loop", selected=True).wait_for()
    assert studio.field("prompt").input_value() == "techno, drums only, 130 bpm"
    assert abs(float(studio.field("bpm").input_value()) - 130) <= 2
    assert studio.field("seed").input_value() == "3"
