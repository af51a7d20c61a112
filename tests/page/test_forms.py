"""Pieces in sections, and parts that are made anew."""

from tests.page.studio import Studio

FORM = "intro 2 s: no drums\nverse 1 bar: drums"


def test_sections_are_read_while_they_are_written(studio: Studio) -> None:
    studio.fill(prompt="lofi piano", sections=FORM)
    reading = studio.reading("sections")
    reading.get_by_text("counts in bars, which needs one tempo").wait_for()
    studio.fill(prompt="lofi piano, 120 bpm")
    pieces = reading.locator(".timeline li")
    pieces.nth(1).wait_for()
    assert pieces.evaluate_all("items => items.map((item) => item.title)") == [
        "intro: 0:00 to 0:02",
        "verse: 0:02 to 0:04",
    ]
    wide = [piece.bounding_box()["width"] for piece in pieces.all()]
    assert abs(wide[0] - wide[1]) < 3
    assert reading.get_by_text("0:04 in all").is_visible()
    studio.page.get_by_role("button", name="Reset").click()
    assert pieces.count() == 0


def test_a_clip_shows_its_sections_and_plays_from_one(studio: Studio) -> None:
    studio.be_quiet()
    # The sections have words of their own, so that there need be no prompt.
    clip = studio.make(sections="intro 1 s: piano\nverse 2 s: piano with drums, 120 bpm", seed=3)
    buttons = clip.locator(".timeline button")
    assert buttons.all_inner_texts() == ["intro\n0:00", "verse\n0:01"]
    wave, verse = clip.locator(".wave").bounding_box(), buttons.nth(1).bounding_box()
    assert abs(verse["x"] - (wave["x"] + wave["width"] / 3)) < 0.05 * wave["width"]
    # They are over the waveform, which is sought in beside them.
    assert wave["y"] <= verse["y"] and verse["y"] + verse["height"] < wave["y"] + wave["height"]
    studio.page.mouse.click(wave["x"] + wave["width"] / 2, wave["y"] + wave["height"] - 4)
    clip.locator(".time", has_text="0:01 /").wait_for()
    buttons.nth(1).click()
    studio.page.wait_for_function("() => window.seen.started.length > 0")
    assert abs(studio.started()[0]["when"][1] - 1.0) < 0.05


def test_a_part_of_a_clip_is_made_anew(studio: Studio) -> None:
    studio.be_quiet()
    sent = studio.sent()
    clip = studio.make(prompt="lofi piano, 120 bpm", duration=4, seed=3)
    studio.menu(clip, "Use", "Repaint a part of this")
    studio.page.locator("#create .audio-wave .wave").wait_for()
    assert studio.page.get_by_role("tab", name="Repaint").get_attribute("aria-selected") == "true"
    assert studio.field("prompt").input_value() == "lofi piano, 120 bpm"
    again = studio.make(continuation_start=1, continuation_end=2.5, seed=4)
    assert (sent[-1]["task"], sent[-1]["continuation_start"], sent[-1]["continuation_end"]) == ("repaint", 1, 2.5)
    before, after = studio.sound(clip), studio.sound(again)
    assert before.samples.shape == after.samples.shape
    assert (before.samples[:30_000] == after.samples[:30_000]).all()
    assert (before.samples[40_000:70_000] != after.samples[40_000:70_000]).any()
