"""Clips that were made: compared, repeated, downloaded, made again, and as programs."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from musicgen_service.audio import recipe
from tests.page.studio import Studio
from tests.support import tag_readers
from tests.support.harness import PROJECT, Clip, Server


def test_sound_starts_before_the_clip_is_complete(studio: Studio) -> None:
    card = studio.generate(prompt="lofi piano, 90 bpm", duration=20, seed=1)
    card.get_by_text("Playing while it is made").wait_for()
    card.locator("article.clip[data-playing]").wait_for()  # it goes on where it was heard, of which much is left
    pieces = [sound for sound in studio.started() if sound["making"]]
    assert len(pieces) > 1 and max(piece["peak"] for piece in pieces) > 0.01
    finished = studio.started()[-1]
    assert finished["seconds"] == 20 and not finished["making"]


def test_clips_are_silent_until_they_are_asked_for_when_that_is_wished(studio: Studio) -> None:
    studio.be_quiet()
    studio.make(prompt="rock", duration=3)
    assert studio.started() == []
    studio.reload()
    assert not studio.page.get_by_label("Play while it is made").is_checked()


def test_two_variations_are_compared_at_the_same_place(studio: Studio) -> None:
    studio.be_quiet()
    card = studio.generate(prompt="rock, 120 bpm", duration=6, variations=2, normalization_strategy="peak", seed=5)
    first, second = (card.locator("article.clip").nth(number) for number in range(2))
    for clip in (first, second):
        clip.locator(".facts", has_text="LUFS").wait_for()
        clip.get_by_role("button", name="A/B").click()
    levels = [float(re.findall(r"(-?[\d.]+) LUFS", clip.inner_text())[0]) for clip in (first, second)]
    note = studio.page.locator("#compare").inner_text()
    quieter = re.search(r"([AB]) is played ([\d.]+) dB quieter", note)
    if abs(levels[0] - levels[1]) > 0.15:
        assert quieter and quieter[1] == "AB"[int(np.argmax(levels))]
        assert float(quieter[2]) == pytest.approx(abs(levels[0] - levels[1]), abs=0.11)
    else:
        assert "same loudness" in note
    studio.page.keyboard.press("x")
    studio.page.locator("article.clip[data-playing] .letter", has_text="A").wait_for()
    studio.page.wait_for_timeout(500)
    studio.page.keyboard.press("x")
    studio.page.locator("article.clip[data-playing] .letter", has_text="B").wait_for()
    a, b = studio.started()[-2:]
    assert a["when"][1] == 0 and b["when"][1] > 0.3, "B goes on where A was"


def test_a_loop_repeats_to_the_sample(studio: Studio) -> None:
    studio.task("Loop")
    clip = studio.make(prompt="deep house", bpm=120, duration=4)
    assert clip.get_by_role("button", name="Repeat").get_attribute("aria-pressed") == "true"
    clip.get_by_role("button", name="Play").click()
    studio.page.locator("article.clip[data-playing]").wait_for()
    played = studio.started()[-1]
    seconds = len(studio.sound(clip).samples) / 32_000
    assert played["rate"] == 32_000 and played["loop"] and played["loopEnd"] == played["seconds"] == seconds


def test_a_clip_is_downloaded_in_four_formats_with_its_recipe(studio: Studio) -> None:
    clip = studio.make(prompt="solo piano", duration=2, seed=4)
    original = studio.sound(clip, "wav")
    for extension in ("wav", "flac", "mp3", "ogg"):
        file = studio.download(clip, extension)
        assert file.name.endswith(f"solo-piano_s4.{extension}")
        samples, _ = soundfile.read(file, always_2d=True)
        assert samples.shape == original.samples.shape
        assert np.corrcoef(samples[:, 0], original.samples[:, 0])[0, 1] > 0.98
        found = recipe.read(file)
        assert (found["seed"], found["prompt"], found["output_format"]) == (4, "solo piano", extension)
    assert np.array_equal(studio.sound(clip, "flac").samples, original.samples)


def test_a_loop_for_a_daw_keeps_its_name_and_tags(studio: Studio) -> None:
    studio.task("Loop")
    loop = studio.make(
        prompt="deep house", bpm=120, duration=4, sample_rate=48_000, bit_depth=24, return_stems=True, seed=4
    )
    stems = studio.page.locator("section.card:first-child article.clip")
    assert stems.count() == 3 and "vocals" in stems.nth(1).inner_text()
    wave, flac, stem = studio.download(loop, "wav"), studio.download(loop, "flac"), studio.download(stems.nth(1), "wav")
    name = re.compile(r"-deep-house_120bpm(?:_[A-G]b?m?)?_s4(_vocals)?\.(\w+)$")
    endings = [(found := name.search(file.name)) and found.groups() for file in (wave, flac, stem)]
    assert endings == [(None, "wav"), (None, "flac"), ("_vocals", "wav")]
    assert (soundfile.info(wave).samplerate, soundfile.info(wave).subtype) == (48_000, "PCM_24")
    assert tag_readers.acid(wave).tempo == tag_readers.acid(stem).tempo == 120
    assert tag_readers.smpl(stem).end == soundfile.info(wave).frames - 1
    assert tag_readers.vorbis_comments(flac)["BPM"] == "120"


def test_the_same_again_and_another_seed(studio: Studio) -> None:
    clip = studio.make(prompt="solo piano", duration=1)
    sound = studio.sound(clip)
    studio.menu(clip, "More", "Same again")
    latest = studio.page.locator("section.card:first-child article.clip")
    studio.page.locator("section.card:nth-child(2)").wait_for()
    latest.wait_for()
    assert studio.sound(latest).content == sound.content
    studio.menu(latest, "More", "Another seed")
    studio.page.locator("section.card:nth-child(3)").wait_for()
    latest.wait_for()
    assert not np.array_equal(studio.sound(latest).samples, sound.samples)


def test_settings_and_spectrogram_are_shown_on_demand(studio: Studio) -> None:
    clip = studio.make(prompt="solo piano", duration=1, temperature=0.9, seed=2)
    studio.menu(clip, "More", "Settings")
    rows = clip.locator("table tr").all_inner_texts()
    assert {"prompt\tsolo piano", "temperature\t0.9", "seed\t2", "duration\t1"} <= set(rows)
    studio.menu(clip, "More", "Spectrogram")
    canvas = clip.locator("canvas.spectrogram")
    colours = canvas.evaluate(
        "canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, 800, 128).data.buffer)).size"
    )
    assert colours > 100
    studio.menu(clip, "More", "Spectrogram")
    assert not canvas.count()


def programs(studio: Studio, clip: Any) -> dict[str, str]:
    """The programs for the request of a clip."""
    studio.menu(clip, "More", "Code for this request")
    found = {}
    for language in ("curl", "Python", "JavaScript", "Command line"):
        studio.page.get_by_role("dialog").get_by_role("button", name=language).click()
        found[language] = studio.page.locator("dialog pre").inner_text()
    studio.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    return found


def test_programs_make_exactly_the_same_clip(studio: Studio, song: Path, tmp_path: Path) -> None:
    studio.task("Continue")
    studio.choose_audio(song)
    clip = studio.make(prompt='it\'s "rock" & <b> $HOME', duration=3, continuation_end=1, seed=9)
    expected = studio.sound(clip).samples
    texts = programs(studio, clip)
    (tmp_path / song.name).write_bytes(song.read_bytes())
    (tmp_path / "client.mjs").write_text(texts["JavaScript"])
    python = [sys.executable, "-c", texts["Python"]]
    for command in (python, ["node", "client.mjs"]):
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        assert np.array_equal(soundfile.read(tmp_path / "clip-1.wav", always_2d=True)[0], expected)
        (tmp_path / "clip-1.wav").unlink()
    reply = subprocess.run(["bash", "-c", texts["curl"]], cwd=tmp_path, check=True, capture_output=True).stdout
    [output] = json.loads(reply)["output"]
    assert np.array_equal(Clip.from_uri(output).samples, expected)
    line = texts["Command line"].replace("python ", f"PYTHONPATH={PROJECT} {sys.executable} ", 1)
    subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True, capture_output=True)
    assert np.array_equal(soundfile.read(tmp_path / "clip.wav", always_2d=True)[0], expected)


def test_clips_are_found_again_searched_and_kept(studio: Studio) -> None:
    studio.make(prompt="solo piano", duration=1)
    studio.make(prompt="techno drums", duration=1)
    studio.reload()
    studio.view("Library")
    clips = studio.page.locator("#library article.clip")
    clips.nth(1).wait_for()
    assert [("techno" in text) for text in clips.all_inner_texts()] == [True, False]
    studio.page.get_by_role("searchbox").fill("PIANO solo")
    assert clips.count() == 1 and "solo piano" in clips.inner_text()
    clips.get_by_role("button", name="Favourite").click()
    studio.page.get_by_role("searchbox").fill("")
    studio.reload()
    studio.page.get_by_role("button", name="Favourites only").click()
    clips.nth(0).wait_for()
    assert clips.count() == 1 and "solo piano" in clips.inner_text()
    assert clips.get_by_role("button", name="Favourite").get_attribute("aria-pressed") == "true"


def test_the_library_is_exported_as_a_zip(studio: Studio, tmp_path: Path) -> None:
    studio.make(prompt="solo piano", duration=1, variations=2, seed=6, return_midi=True)
    studio.view("Library")
    studio.page.locator("#library article.clip").nth(1).wait_for()
    with studio.page.expect_download() as download:
        studio.page.get_by_role("button", name="Export as zip").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        archive.extractall(tmp_path)
        assert archive.testzip() is None
    waves, midi = sorted(tmp_path.glob("*.wav")), list(tmp_path.glob("*.mid"))
    assert len(waves) == len(midi) == 2 and len(list(tmp_path.glob("*.json"))) == 2
    assert recipe.read(waves[0])["prompt"] == "solo piano" and midi[0].read_bytes().startswith(b"MThd")


def test_a_clip_is_deleted_and_brought_back(studio: Studio) -> None:
    studio.make(prompt="solo piano", duration=1)
    studio.view("Library")
    clips = studio.page.locator("#library article.clip")
    studio.menu(clips.first, "More", "Delete")
    studio.page.get_by_text("No clips yet").wait_for()
    studio.page.get_by_role("button", name="Undo").click()
    clips.first.wait_for()
    studio.menu(clips.first, "More", "Delete")
    studio.page.get_by_text("No clips yet").wait_for()
    studio.reload()
    studio.page.get_by_text("No clips yet").wait_for()


@pytest.mark.parametrize("extension", ["wav", "mp3", "flac", "ogg"])
def test_a_file_that_is_dropped_restores_its_settings(
    studio: Studio, served: Server, extension: str, tmp_path: Path
) -> None:
    inputs = {"task": "loop", "prompt": 'ümläut „quotes" \\ 😀 drums', "bpm": 120, "duration": 4, "seed": 8}
    [made] = served.make(**inputs, temperature=0.8, output_format=extension)
    file = tmp_path / f"clip.{extension}"
    file.write_bytes(made.content)
    studio.drop(studio.page.locator("body"), file)
    studio.page.get_by_text(f"Settings of clip.{extension} restored.").wait_for()
    assert studio.page.get_by_role("tab", name="Loop").get_attribute("aria-selected") == "true"
    assert studio.field("prompt").input_value() == inputs["prompt"]
    clip = studio.make()
    # An Ogg stream has a random number.
    assert np.array_equal(studio.sound(clip, extension).samples, made.samples)


def test_a_file_restores_the_audio_it_was_made_from(studio: Studio, song: Path) -> None:
    studio.task("Continue")
    studio.choose_audio(song)
    clip = studio.make(duration=3, continuation_start=1, continuation_end=2)
    file = studio.download(clip, "wav")
    studio.reload()
    studio.drop(studio.page.locator("body"), file)
    studio.page.locator("#create .audio-name", has_text=song.name).wait_for()
    again = studio.make()
    assert studio.sound(again).content == file.read_bytes()


def test_a_file_of_others_restores_nothing(studio: Studio, song: Path) -> None:
    studio.drop(studio.page.locator("body"), song)
    studio.page.get_by_text("song.wav has no settings in it").wait_for()
