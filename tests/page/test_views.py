"""Analysis and models, and the page for everybody: by keyboard, by ear, in the dark, on a phone."""

import json
from pathlib import Path

import pytest

from deploy.page_libraries import Library, fetch
from musicgen_service.models.catalogue import CHECKPOINTS
from tests.page.studio import Studio

AXE = Library(
    "axe-core",
    "4.14.1",
    "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    "MPL-2.0",
    {"axe.min.js": "axe.min.js"},
)
"""What looks for barriers: used here, and in nothing that is delivered."""


def test_a_recording_is_analysed(studio: Studio, song: Path) -> None:
    studio.view("Analyse")
    studio.page.locator("#analyse input[type=file]").set_input_files(song)
    studio.page.locator("#analyse").get_by_role("button", name="Analyse").click()
    facts = studio.page.locator("#analyse dl")
    facts.wait_for()
    assert "Tempo" in facts.inner_text() and "LUFS" in facts.inner_text() and "0:04" in facts.inner_text()
    lanes = studio.page.locator("#analyse canvas.lanes")
    drawn = lanes.evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some(Boolean)"
    )
    assert drawn
    with studio.page.expect_download() as download:
        studio.page.get_by_role("button", name="Download as JSON").click()
    heard = json.loads(Path(download.value.path()).read_text())
    assert heard["seconds"] == pytest.approx(4) and heard["chords"]
    studio.page.locator("#analyse summary").click()
    assert studio.page.locator("#analyse tbody tr").count() == len(heard["chords"])


def test_a_clip_is_analysed_from_where_it_is(studio: Studio) -> None:
    clip = studio.make(prompt="house, 120 bpm", duration=4)
    studio.menu(clip, "Use", "Analyse")
    studio.page.locator("#analyse dl").wait_for()
    assert studio.page.url.endswith("#analyse")


def test_no_audio_is_said_in_a_sentence(studio: Studio, tmp_path: Path) -> None:
    text = tmp_path / "song.mp3"
    text.write_text("<html>not a song</html>")
    studio.view("Analyse")
    studio.page.locator("#analyse input[type=file]").set_input_files(text)
    studio.page.locator("#analyse").get_by_role("button", name="Analyse").click()
    studio.page.get_by_role("alert").get_by_text("It could not be analysed: input_audio cannot be used").wait_for()


def test_models_say_what_they_need_and_under_which_licence(studio: Studio) -> None:
    studio.view("Models")
    cards = studio.page.locator("section.model")
    cards.first.wait_for()
    shown = {card.get_attribute("data-model"): card.inner_text() for card in cards.all()}
    assert set(CHECKPOINTS) <= set(shown)
    assert "in memory" in shown["demo"] and "Apache-2.0" in shown["demo"] and "commercial" not in shown["demo"]
    for part in ("not here", "CC-BY-NC 4.0", "not for commercial use", "600 MB", "weights fetch small"):
        assert part in shown["small"]


def test_the_licence_of_released_weights_is_said_where_they_are_chosen(studio: Studio) -> None:
    note = studio.page.locator("#create .licence")
    assert not note.is_visible()
    studio.fill(model_version="large")
    note.get_by_text("large is under CC-BY-NC 4.0: not for commercial use.").wait_for()
    studio.fill(model_version="demo")
    note.wait_for(state="hidden")


def test_everything_is_reached_with_the_keyboard(studio: Studio) -> None:
    press = studio.page.keyboard.press
    focused = studio.page.locator(":focus")
    for _ in range(40):
        press("Tab")
        if focused.get_attribute("name") == "prompt":
            break
    studio.page.keyboard.type("solo piano")
    press("Tab")
    press("Control+Enter")
    clip = studio.page.locator("article.clip")
    clip.locator(".wave").wait_for()
    for _ in range(40):
        press("Tab")
        if (focused.get_attribute("aria-label") or "").startswith(("Play:", "Pause:")):
            break
    if focused.get_attribute("aria-label").startswith("Play:"):
        press("Enter")
    studio.page.locator("article.clip[data-playing]").wait_for()
    press("Enter")
    press("Tab")
    assert focused.get_attribute("role") == "slider" and "Position" in focused.get_attribute("aria-label")
    press("Home")
    press("ArrowRight")
    assert focused.get_attribute("aria-valuenow") == "1.0"
    clip.get_by_role("button", name="Use").focus()
    press("Enter")
    press("ArrowDown")
    assert focused.inner_text() == "Use as melody"
    press("Escape")
    assert focused.inner_text() == "Use"


def test_tabs_are_changed_with_arrows(studio: Studio) -> None:
    studio.page.get_by_role("tab", name="Text").focus()
    studio.page.keyboard.press("ArrowRight")
    studio.page.keyboard.press("ArrowRight")
    assert studio.page.get_by_role("tab", name="Chords").get_attribute("aria-selected") == "true"
    assert studio.page.locator(":focus").inner_text() == "Chords"


def test_a_narrow_screen_has_everything_within_its_width(phone: Studio) -> None:
    phone.make(prompt="rock " * 60 + "a" * 80, duration=1, variations=3)
    phone.page.locator("#create summary").click()
    for view in ("Create", "Library", "Models", "Analyse"):
        phone.view(view)
        phone.page.wait_for_timeout(200)
        assert phone.page.evaluate("() => document.documentElement.scrollWidth") == 360, view


def test_the_theme_follows_the_system_or_the_button(studio: Studio, phone: Studio) -> None:
    def brightness(seen: Studio) -> int:
        colour = seen.page.evaluate("() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        return sum(colour) // 3

    assert brightness(studio) > 200 and brightness(phone) < 60
    button = studio.page.locator("#theme")
    button.click()
    button.click()
    assert brightness(studio) < 60 and button.get_attribute("aria-label") == "Theme: dark"
    studio.reload()
    assert brightness(studio) < 60


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return fetch(AXE)["axe.min.js"].decode()
    except FileNotFoundError:
        pytest.skip("needs npm, which brings axe-core")


def barriers(studio: Studio, axe: str) -> list[str]:
    """What axe finds that is serious or worse."""
    studio.page.evaluate(axe)
    found = studio.page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{entry['id']}: {entry['nodes'][0]['html']}" for entry in found if entry["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("look", ["studio", "phone"])
def test_there_are_no_barriers(look: str, axe: str, request: pytest.FixtureRequest, song: Path) -> None:
    seen: Studio = request.getfixturevalue(look)
    assert barriers(seen, axe) == []
    clip = seen.make(prompt="rock", duration=1, variations=2)
    clip.locator(".facts", has_text="LUFS").wait_for()
    clip.get_by_role("button", name="A/B").click()
    seen.menu(clip, "More", "Settings")
    clip.get_by_role("button", name="More").click()
    assert barriers(seen, axe) == []
    clip.locator(".menu-list").get_by_role("button", name="Code for this request").click()
    assert barriers(seen, axe) == []
    seen.page.get_by_role("dialog").get_by_role("button", name="Close").click()
    seen.task("Continue")
    seen.choose_audio(song)
    seen.fill(duration=1000)
    seen.page.get_by_role("button", name="Generate").click()
    assert barriers(seen, axe) == []
    for view in ("Library", "Models", "Analyse", "Teach it"):
        seen.view(view)
        seen.page.wait_for_timeout(200)
        assert barriers(seen, axe) == [], view
