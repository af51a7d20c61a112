"""Fixtures: a real server with the demo checkpoint, a real browser, and the page in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.page.studio import Studio
from tests.support.harness import PROJECT, Server, serving
from tests.support.sounds import drums, tone

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(folder):
            item.add_marker(pytest.mark.page)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a window, whose microphone plays beeps."""
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"needs a browser: one of {', '.join(BROWSERS)}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def served(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that `serve` starts."""
    temp = tmp_path_factory.mktemp("page") / "temp"
    with serving(["-m", "musicgen_service", "serve", "--port"], PROJECT, temp, MUSICGEN_MODELS="demo") as server:
        yield server


@pytest.fixture
def studio(browser: Any, served: Server) -> Iterator[Studio]:
    """The page in a browser that has never seen it; whatever goes wrong in it fails the test."""
    with Studio.opened(browser, str(served.client.base_url)) as studio:
        yield studio


@pytest.fixture
def phone(browser: Any, served: Server) -> Iterator[Studio]:
    """The page on a narrow screen in the dark."""
    look = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "has_touch": True}
    with Studio.opened(browser, str(served.client.base_url), **look) as studio:
        yield studio


@pytest.fixture(scope="session")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a chord over drums."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    soundfile.write(path, (0.5 * tone(4.0) + 0.3 * drums(4.0))[0], 32_000)
    return path
