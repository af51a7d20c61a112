"""Teaching the model songs: looked at, described, trained, heard, used; with a stand-in for the command that trains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.page.studio import Studio
from tests.serving.training_gateway import calls, training_gateway, weights_with_stand_in
from tests.support.harness import wait_until


@pytest.fixture
def weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return weights_with_stand_in(tmp_path, monkeypatch)


@pytest.fixture
def studio(browser: Any, weights_folder: Path, tmp_path: Path) -> Iterator[Studio]:
    """The page of a service that trains."""
    with (
        training_gateway(tmp_path / "results") as gateway,
        Studio.opened(browser, f"http://127.0.0.1:{gateway.address[1]}") as studio,
    ):
        studio.view("Teach it")
        yield studio


def choose(studio: Studio, folder: Path) -> None:
    """Give the page two songs and a text beside one of them."""
    for name, content in (("a.wav", b"first"), ("b.wav", b"second"), ("a.txt", b"rock")):
        (folder / name).write_bytes(content)
    studio.page.locator("#teach input[type=file]").set_input_files(
        [folder / name for name in ("a.wav", "b.wav", "a.txt")]
    )


def button(studio: Studio, name: str) -> Any:
    return studio.page.locator("#teach").get_by_role("button", name=name, exact=True)


def field(studio: Studio, name: str) -> Any:
    return studio.page.locator(f"#teach [name={name}]")


def test_songs_are_looked_at_described_trained_on_and_used(
    studio: Studio, weights_folder: Path, tmp_path: Path
) -> None:
    field(studio, "model_version").wait_for()
    assert field(studio, "model_version").locator("option").all_text_contents() == ["demo"]
    assert button(studio, "Look at the songs").is_disabled()
    choose(studio, tmp_path)
    button(studio, "Look at the songs").click()
    studio.page.get_by_text("Name is needed here.").wait_for()
    field(studio, "adapter_name").fill("mine")
    field(studio, "trigger").fill("in mine")
    field(studio, "drop_vocals").uncheck()
    button(studio, "Look at the songs").click()
    row = studio.page.locator("#teach tbody tr")
    caption = row.get_by_label("Caption of a.wav")
    assert caption.input_value() == "rock, 120 bpm"
    assert row.locator("td").all_text_contents()[:3] == ["a.wav", "0:07", "1"]
    caption.fill("jazz")
    button(studio, "Train").click()
    studio.page.get_by_text("Done: mine, for demo.").wait_for()
    assert studio.page.get_by_label("After 0 steps, sample 1").count() == 1
    look, train = calls(weights_folder)
    assert look["options"] == {"json": "", "name": "mine", "base": "demo", "trigger": "in mine", "dry-run": ""}
    assert train["options"] == {"json": "", "name": "mine", "base": "demo", "trigger": "in mine"}
    assert look["read"] == ["first", "second", "rock"]
    assert train["read"] == [*look["read"], {"a.wav.txt": "jazz"}]
    button(studio, "Use it").click()
    studio.field("adapter").wait_for(state="attached")
    assert studio.field("adapter").input_value() == "mine" and studio.field("prompt").input_value() == "in mine"


def test_a_training_is_followed_after_a_reload_and_cancelled(studio: Studio, tmp_path: Path) -> None:
    choose(studio, tmp_path)
    field(studio, "adapter_name").fill("mine")
    field(studio, "trigger").fill("endless")
    button(studio, "Look at the songs").click()
    button(studio, "Train").click()
    progress = studio.page.get_by_text("training: 1 of 3 · loss 3.0, held-out 3.1")
    progress.wait_for()
    studio.reload()
    progress.wait_for()
    studio.page.get_by_label("After 0 steps, sample 1").wait_for()
    studio.page.set_viewport_size({"width": 360, "height": 800})
    assert studio.page.evaluate("document.documentElement.scrollWidth") == 360
    button(studio, "Cancel").click()
    studio.page.locator("#teach").get_by_text("Cancelled.").wait_for()


def test_a_failure_is_told(studio: Studio, weights_folder: Path, tmp_path: Path) -> None:
    choose(studio, tmp_path)
    studio.page.locator("#teach").get_by_role("button", name="Remove b.wav").click()
    field(studio, "adapter_name").fill("mine/yours/theirs")
    button(studio, "Look at the songs").click()
    studio.page.locator("#teach [role=alert]", has_text="destination must be OWNER/NAME or NAME").wait_for()
    field(studio, "adapter_name").fill("mine")
    field(studio, "trigger").fill("refused")
    button(studio, "Look at the songs").click()
    button(studio, "Train").click()
    studio.page.locator("#teach [role=alert]", has_text="An unfinished training has other songs").wait_for()
    wait_until(lambda: len(calls(weights_folder)) == 2)
    assert calls(weights_folder)[1]["read"] == ["first", "rock"]
