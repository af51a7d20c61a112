"""The page follows the service: its schema, its tasks, and what becomes of it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from musicgen_service import predictors
from musicgen_service.requests.tasks import TASKS
from musicgen_service.serving import schema
from tests.page.studio import Studio
from tests.support import harness
from tests.support.harness import PROJECT, serving

SCHEMA = schema.build("predict.py:Predictor")
DECIDED = {"task", "continuation"}
"""Inputs that the tab decides."""


def shown(studio: Studio) -> set[str]:
    """Names of the inputs that the form has, with those under "Advanced"."""
    names = studio.page.locator("#create form [name]").evaluate_all("controls => controls.map(({ name }) => name)")
    files = studio.page.locator("#create form .field-file").evaluate_all(
        "files => files.map(({ dataset }) => dataset.input)"
    )
    return {*names, *files}


def test_each_task_shows_the_inputs_that_it_uses(studio: Studio) -> None:
    inputs = set(SCHEMA["components"]["schemas"]["Input"]["properties"])
    tabs = {tab.get_attribute("data-task"): tab for tab in studio.page.get_by_role("tab").all()}
    assert list(tabs) == list(TASKS)
    for name, task in TASKS.items():
        tabs[name].click()
        unused = {*task.unused, *DECIDED}
        unused |= set() if task.takes_audio else {"input_audio"}
        unused |= set() if task.takes_sections else {"sections"}
        unused |= set() if task.takes_chords else {"text_chords", "audio_chords"}
        unused |= set() if task.stems else {"return_stems"}
        # Without sampling, all variations are the same.
        unused |= set() if task.samples_tokens else {"variations", "seed"}
        assert shown(studio) == inputs - unused, name


def with_schema(studio: Studio, changed: dict[str, Any]) -> None:
    """Open the page with another schema of the service."""
    studio.page.route("**/openapi.json", lambda route: route.fulfill(json=changed))
    studio.reload()


def test_a_new_input_appears_and_is_sent(studio: Studio) -> None:
    changed = json.loads(json.dumps(SCHEMA))
    changed["components"]["schemas"]["Input"]["properties"]["swing"] = {
        **{"x-order": 99, "title": "Swing", "type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
        "description": "How late every second note is.",
    }
    with_schema(studio, changed)
    studio.fill(prompt="rock", swing=2)
    studio.page.get_by_role("button", name="Generate").click()
    studio.page.get_by_text("Swing must be from 0 to 1.").wait_for()
    assert studio.page.get_by_text("How late every second note is. 0 to 1.").is_visible()
    sent = studio.sent()
    card = studio.generate(swing=0.7)
    assert sent[0]["swing"] == 0.7
    card.get_by_text("There is no input 'swing'").wait_for()
    studio.page.locator("[data-input=swing] .field-error", has_text="There is no input 'swing'").wait_for()


@pytest.mark.parametrize("system", predictors.names())
def test_every_drop_in_has_a_form_of_all_its_inputs(studio: Studio, system: str) -> None:
    theirs = schema.build(predictors.predictor(system))
    with_schema(studio, theirs)
    properties = theirs["components"]["schemas"]["Input"]["properties"]
    assert shown(studio) == set(properties) - (DECIDED if "task" in properties else set())
    assert studio.page.locator("#create form > .form-fields > .fields > .field").count() >= 1


def test_a_drop_in_makes_clips(browser: Any, tmp_path: Path) -> None:
    command = ["-m", "musicgen_service", "serve", "--as", "musicgen_looper", "--port"]
    with (
        serving(command, PROJECT, tmp_path / "temp", MUSICGEN_MODELS="demo") as server,
        Studio.opened(browser, str(server.client.base_url)) as studio,
    ):
        card = studio.generate(prompt="deep house", bpm=120, max_duration=4, variations=2)
        card.locator("article.clip").nth(1).wait_for()
        assert len(studio.sound(card.locator("article.clip").first).samples) == 4 * 32_000


def test_a_service_with_keys_asks_for_one(browser: Any, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    added = [sys.executable, "-m", "musicgen_service", "keys", "add", "me"]
    environment = os.environ | {"MUSICGEN_API_KEYS_FILE": str(keys)}
    made = subprocess.run(added, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True).stdout
    key = re.findall(r"\S{40,}", made)[0]
    command = ["-m", "musicgen_service", "serve", "--port"]
    settings = {"MUSICGEN_MODELS": "demo", "MUSICGEN_API_KEYS_FILE": str(keys)}
    with serving(command, PROJECT, tmp_path / "temp", **settings) as server:
        context = browser.new_context()
        page = context.new_page()
        page.goto(str(server.client.base_url))
        for given in ("wrong", key):
            page.get_by_label("API key").fill(given)
            page.get_by_role("button", name="Continue").click()
        studio = Studio(page, str(server.client.base_url))
        page.locator("button.generate").wait_for()
        clip = studio.make(prompt="rock", duration=2)
        assert studio.sound(clip, "flac").samples.shape == (2 * 32_000, 1)
        studio.menu(clip, "More", "Code for this request")
        assert "Authorization: Bearer $MUSICGEN_KEY" in page.locator("dialog pre").inner_text()
        assert key not in page.content() and studio.problems == []
        context.close()


def test_the_service_is_started_again_in_between(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    port = harness.free_port()
    monkeypatch.setattr(harness, "free_port", lambda: port)
    command = ["-m", "musicgen_service", "serve", "--port"]
    with (
        serving(command, PROJECT, tmp_path / "temp", MUSICGEN_MODELS="demo") as first,
        Studio.opened(browser, str(first.client.base_url)) as studio,
    ):
        sound = studio.sound(studio.make(prompt="solo piano", duration=1, seed=1)).content
        card = studio.generate(prompt="rock", duration=20)
        card.get_by_text("Making it").wait_for()
        first.process.kill()
        card.get_by_text("cannot be reached").wait_for()
        with serving(command, PROJECT, tmp_path / "temp", MUSICGEN_MODELS="demo"):
            card.locator("article.clip .wave").wait_for()  # it was made by the second one
            old = studio.page.locator("section.card", has_text="solo piano").locator("article.clip")
            studio.menu(old, "More", "Same again")
            again = studio.page.locator("section.card:first-child", has_text="solo piano").locator("article.clip")
            again.locator(".wave").wait_for()
            assert studio.sound(again).content == sound
