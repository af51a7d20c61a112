"""Takes the pictures of the page for README.md and docs/page.md, of a server that it starts: `make page-pictures`.

python -m bench.page_pictures --out docs/pictures
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.page.conftest import ARGUMENTS, BROWSERS
from tests.page.studio import Studio
from tests.support.harness import PROJECT, serving

from playwright.sync_api import sync_playwright

DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}
DARK: dict[str, Any] = {"color_scheme": "dark"}
PROMPT = "lofi piano with soft drums, 90 bpm, a minor"
SONG = PROJECT / "tests" / "data" / "real" / "fishin.ogg"


@contextmanager
def opened(browser: Any, address: str, **look: Any) -> Iterator[Studio]:
    """The page; clips are not played while they are made, so that every picture has the same state."""
    with Studio.opened(browser, address, **look) as studio:
        studio.be_quiet()
        yield studio


def _heard(studio: Studio, count: int = 1) -> None:
    """Wait until tempo, key and loudness of every clip are shown."""
    studio.page.locator("article.clip .facts", has_text="LUFS").nth(count - 1).wait_for()


def _show_top(studio: Studio) -> None:
    """Close what was opened to fill in inputs, go to the top, and point at nothing."""
    studio.page.locator("#create details").evaluate("details => { details.open = false; scrollTo(0, 0); }")
    studio.page.mouse.move(1, 1)


def take_clips(studio: Studio, path: Path) -> None:
    """Two variations, the first of which is playing."""
    studio.make(prompt=PROMPT, duration=8, variations=2, seed=7)
    _heard(studio, 2)
    clip = studio.page.locator("article.clip").first
    clip.get_by_role("button", name="Play").click()
    studio.page.wait_for_timeout(2500)
    _show_top(studio)
    studio.page.screenshot(path=path, full_page=path.stem.endswith("phone"))


def take_loop(studio: Studio, path: Path) -> None:
    """A loop with its spectrogram."""
    studio.task("Loop")
    clip = studio.make(prompt="deep house", bpm=124, seed=7)
    _heard(studio)
    studio.menu(clip, "More", "Spectrogram")
    _show_top(studio)
    studio.page.screenshot(path=path)


def take_chords(studio: Studio, path: Path) -> None:
    """Chords that are read while they are typed, and their clip."""
    studio.task("Chords")
    studio.make(prompt="lofi piano", text_chords="| Am F | C / G E7 |", bpm=90, duration=8, seed=3)
    _heard(studio)
    _show_top(studio)
    studio.page.screenshot(path=path)


def take_remix(studio: Studio, path: Path) -> None:
    """A remix of a part of a song, with its stems."""
    studio.task("Remix")
    studio.choose_audio(SONG)
    studio.make(prompt="bossa nova", continuation_start=2, continuation_end=10, return_stems=True, seed=7)
    _heard(studio, 3)
    _show_top(studio)
    studio.page.screenshot(path=path)


def take_analysis(studio: Studio, path: Path) -> None:
    """What is heard in a recording."""
    studio.view("Analyse")
    studio.page.locator("#analyse input[type=file]").set_input_files(SONG)
    studio.page.locator("#analyse").get_by_role("button", name="Analyse").click()
    studio.page.locator(".lanes-wave .wave").wait_for()
    studio.page.screenshot(path=path)


PICTURES: dict[str, tuple[Callable[[Studio, Path], None], dict[str, Any]]] = {
    "page": (take_clips, DESKTOP),
    "page-dark": (take_clips, DESKTOP | DARK),
    "page-phone": (take_clips, PHONE),
    "page-loop": (take_loop, DESKTOP),
    "page-chords": (take_chords, DESKTOP),
    "page-remix": (take_remix, DESKTOP),
    "page-analysis": (take_analysis, DESKTOP),
}


def main() -> None:
    """Take all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(PICTURES), help=f"some of {', '.join(PICTURES)}")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    options = parser.parse_args()
    program = next(filter(None, map(shutil.which, BROWSERS)))
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(
            ["-m", "musicgen_service", "serve", "--port"], PROJECT, Path(folder) / "temp", MUSICGEN_MODELS="demo"
        ) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        for name in options.names:
            take, look = PICTURES[name]
            with opened(browser, str(server.client.base_url), **look) as studio:
                take(studio, options.out / f"{name}.png")
            print(options.out / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    main()
