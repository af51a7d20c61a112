"""Chords on the page: how the service reads them is shown while they are typed."""

from tests.page.studio import Studio


def test_bars_and_notes_are_shown_below_the_chords(studio: Studio) -> None:
    studio.page.get_by_role("tab", name="Chords").click()
    reading = studio.reading("text_chords")
    studio.field("text_chords").fill("Am7 F/A,G")
    reading.get_by_text("Bars as they are read: 2").wait_for()
    assert reading.locator(".bar").all_inner_texts() == ["Am7\nC E G A", "F/A\nC F A\nG\nD G B"]
    studio.field("text_chords").fill("Am7 Q")
    reading.get_by_text("bar 2 has 'Q', which is no chord known here").wait_for()
    assert not reading.locator(".bar").count()
    studio.field("text_chords").fill("")
    reading.locator("p").wait_for(state="detached")


def test_chords_of_sections_are_shown_below_them(studio: Studio) -> None:
    studio.page.get_by_role("tab", name="Chords").click()
    studio.fill(sections="verse 2 bars: drums / chords: Am7; outro 2 bars: piano", bpm=120)
    reading = studio.reading("sections")
    reading.get_by_text("Bars of verse: 1").wait_for()
    assert reading.locator(".bar").all_inner_texts() == ["Am7\nC E G A"]
    studio.fill(sections="verse 2 bars: drums / chords: H")
    reading.get_by_text(
        "Line 1 of sections ('verse 2 bars: drums / chords: H') has chords that cannot be read"
    ).wait_for()


def test_a_clip_is_made_on_chords(studio: Studio) -> None:
    studio.page.get_by_role("tab", name="Chords").click()
    clip = studio.make(text_chords="Am F C G", bpm=120, prompt="rock", duration=2)
    assert studio.sound(clip).samples.shape == (2 * 32_000, 1)
