"""Making a clip: the first screen, what it sends, how it waits, and what it shows when something is wrong."""

import time

import httpx
import numpy as np
import pytest

from tests.page.studio import Studio
from tests.support.harness import Server

LONG = {"prompt": "rock", "duration": 120}


def test_an_example_becomes_a_clip_that_can_be_heard(studio: Studio) -> None:
    studio.page.get_by_role("button", name="Lofi piano, 90 bpm").click()
    assert studio.field("prompt").input_value() == "lofi piano with soft drums, 90 bpm, a minor"
    clip = studio.make(duration=2)
    sound = studio.sound(clip)
    assert sound.samples.shape == (2 * 32_000, 1) and np.abs(sound.samples).max() > 0.1
    clip.get_by_role("button", name="Play").click()
    studio.page.locator("article.clip[data-playing]").wait_for()
    played = studio.started()[-1]
    assert played["seconds"] == 2 and played["peak"] > 0.1 and not played["loop"]
    clip.get_by_role("button", name="Pause").click()
    assert not studio.page.locator("article.clip[data-playing]").count()


def test_what_is_heard_in_a_clip_is_shown_beside_it(studio: Studio) -> None:
    clip = studio.make(prompt="techno, drums only, 130 bpm", duration=6, seed=3)
    clip.locator(".facts", has_text="LUFS").wait_for()
    assert "-14.0 LUFS" in clip.locator(".facts").inner_text()
    assert "seed 3" in clip.inner_text()


def test_a_prompt_of_markup_stays_text(studio: Studio) -> None:
    prompt = '<img src=x onerror="alert(1)"><b>rock</b> & "jazz"'
    card = studio.generate(prompt=prompt, duration=1)
    card.locator("article.clip .wave").wait_for()
    assert card.locator("h3").inner_text() == prompt
    assert not studio.page.locator("img[src=x], h3 b").count()


def test_a_request_shows_where_it_waits_and_is_cancelled(studio: Studio, served: Server) -> None:
    ids = [f"long-{number}" for number in range(10)]
    with httpx.Client(base_url=served.client.base_url, headers={"Prefer": "respond-async"}) as client:
        try:
            for name in ids:
                assert client.put(f"/predictions/{name}", json={"input": LONG}).status_code == 202
            card = studio.generate(prompt="jazz", duration=1)
            card.get_by_text("Waiting: 2 before it").wait_for()
            second = studio.generate(prompt="pop", duration=1)
            second.get_by_text("Waiting: 3 before it").wait_for()
            card.get_by_role("button", name="Cancel").click()
            card.get_by_text("Cancelled.").wait_for()
            second.get_by_text("Waiting: 2 before it").wait_for()
        finally:
            for name in ids:
                client.post(f"/predictions/{name}/cancel")
    second.locator("article.clip .wave").wait_for()


def test_a_long_clip_shows_progress_and_time_left_and_is_cancelled(studio: Studio, served: Server) -> None:
    card = studio.generate(prompt="rock", duration=60)
    card.get_by_text("left").wait_for()
    assert 0 < float(card.locator("progress").get_attribute("value")) < 1
    card.get_by_role("button", name="Cancel").click()
    card.get_by_text("Cancelled.").wait_for()
    assert not card.locator("article").count()
    deadline = time.monotonic() + 20
    while served.status() != "READY" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert served.status() == "READY"


def test_several_requests_run_at_once(studio: Studio) -> None:
    cards = [studio.generate(prompt=prompt, duration=20) for prompt in ("rock", "jazz", "pop")]
    assert studio.page.locator("progress").count() >= 2
    for card in cards:
        card.locator("article.clip .wave").wait_for()


def test_a_request_survives_a_reload_of_the_page(studio: Studio) -> None:
    studio.generate(prompt="rock", duration=12)
    studio.reload()
    studio.page.locator("section.card article.clip .wave").wait_for()
    assert studio.page.locator("section.card h3").inner_text() == "rock"


@pytest.mark.parametrize(
    ("values", "name", "sentence"),
    [
        ({}, "prompt", "Description is needed here."),
        ({"prompt": "rock", "duration": 601}, "duration", "Length must be from 1 to 600."),
        ({"prompt": "rock", "variations": "2.5"}, "variations", "Variations must be a whole number."),
        ({"prompt": "rock", "top_k": -1}, "top_k", "Top k must be from 0 to 2048."),
    ],
)
def test_a_value_that_is_not_allowed_is_said_at_its_field(
    studio: Studio, values: dict[str, object], name: str, sentence: str
) -> None:
    sent = studio.sent()
    studio.fill(**values)
    studio.page.get_by_role("button", name="Generate").click()
    control = studio.field(name)
    assert control.get_attribute("aria-invalid") == "true"
    assert control.evaluate("element => element === document.activeElement")
    described = control.get_attribute("aria-describedby").split()
    assert sentence in [studio.page.locator(f"#{part}").inner_text() for part in described]
    assert sent == []


def test_what_the_service_refuses_is_said_at_the_field_that_it_names(studio: Studio) -> None:
    card = studio.generate(prompt="house, 124 bpm", bpm=90)
    card.get_by_role("alert").wait_for()
    assert "The prompt says 124 bpm but bpm is 90" in card.inner_text()
    error = studio.page.locator("[data-input=prompt] .field-error")
    error.get_by_text("but bpm is 90").wait_for()
