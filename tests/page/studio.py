"""The page as somebody uses it, and everything that goes wrong in the browser meanwhile."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import soundfile

from tests.support.harness import Clip

PATIENCE = 120_000
"""Milliseconds after which a wait fails."""
WATCH = """
window.seen = { violations: [], started: [] };
document.addEventListener("securitypolicyviolation", (event) => window.seen.violations.push(event.violatedDirective));
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  const { buffer, loop, loopEnd } = this;
  const peak = buffer.getChannelData(0).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const making = document.querySelector("progress") !== null;
  window.seen.started.push({ seconds: buffer.duration, rate: buffer.sampleRate, loop, loopEnd, peak, making, when });
  return start.apply(this, when);
};
"""
"""Notes what the page's policy forbids, and every sound that is started."""


class Studio:
    """One visit.

    Parameters
    ----------
    page : of playwright
    address : of the service
    """

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.problems: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("console", self._note_console)
        page.on("request", self._note_request)

    @classmethod
    @contextmanager
    def opened(cls, browser: Any, address: str, **look: Any) -> Iterator["Studio"]:
        """The page, opened in a browser without a past."""
        context = browser.new_context(permissions=["microphone"], **look)
        context.add_init_script(WATCH)
        studio = cls(context.new_page(), address)
        try:
            studio.open()
            yield studio
            violations = studio.page.evaluate("() => window.seen?.violations ?? []")
            assert (studio.problems, violations) == ([], [])
        finally:
            context.close()

    def _note_console(self, message: Any) -> None:
        # An answer that is an error is logged by the browser itself.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"console: {message.text}")

    def _note_request(self, request: Any) -> None:
        if request.url.startswith("http") and urlsplit(request.url).hostname not in ("127.0.0.1", "localhost"):
            self.problems.append(f"asked elsewhere: {request.url}")

    def open(self, path: str = "/") -> None:
        """Open the page, and wait until it can be used."""
        self.page.goto(self.address.rstrip("/") + path)
        self._ready()

    def reload(self) -> None:
        """Load the page again."""
        self.page.reload()
        self._ready()

    def _ready(self) -> None:
        self.page.locator("button.generate").wait_for(state="attached")

    def be_quiet(self) -> None:
        """Let clips be played only when they are asked for."""
        self.page.get_by_label("Play while it is made").uncheck()

    def view(self, name: str) -> None:
        """Go to a view by the link at the top."""
        self.page.get_by_role("navigation").get_by_role("link", name=name).click()

    def task(self, name: str) -> None:
        """Choose a task."""
        self.page.get_by_role("tab", name=name).click()

    def field(self, name: str) -> Any:
        """The control of an input, by the input's name."""
        return self.page.locator(f"#create [name={name}]")

    def reading(self, name: str) -> Any:
        """What is shown below an input of how the service reads it."""
        return self.page.locator(f"#create [data-input={name}] .reading")

    def fill(self, **values: Any) -> None:
        """Fill in inputs, of which some may be under "Advanced"."""
        for name, value in values.items():
            control = self.field(name)
            if not control.is_visible():
                self.page.locator("#create summary").click()
            if isinstance(value, bool):
                control.set_checked(value)
            elif control.evaluate("element => element.tagName") == "SELECT":
                control.select_option(str(value))
            else:
                control.fill(str(value))

    def choose_audio(self, file: Path) -> None:
        """Give the form a file, and wait for its waveform."""
        self.page.locator("#create input[type=file][aria-label=Audio]").set_input_files(file)
        self.page.locator("#create .audio-wave .wave").wait_for()

    def generate(self, **values: Any) -> Any:
        """Fill in inputs and press the button; returns the card of the request."""
        self.fill(**values)
        before = self.page.locator("section.card").count()
        self.page.get_by_role("button", name="Generate").click()
        self.page.locator(f"section.card:nth-of-type({before + 1})").wait_for()
        return self.page.locator(
            f'section.card[data-job="{self.page.locator("section.card").first.get_attribute("data-job")}"]'
        )

    def make(self, **values: Any) -> Any:
        """The same, until its first clip is there; returns the first clip."""
        clip = self.generate(**values).locator("article.clip").first
        clip.locator(".wave").wait_for()
        return clip

    def menu(self, clip: Any, button: str, action: str) -> None:
        """Press an action in a menu of a clip."""
        clip.get_by_role("button", name=button, exact=True).click()
        clip.locator(".menu-list").get_by_role("button", name=action).click()

    def download(self, clip: Any, extension: str) -> Path:
        """Download a clip in a format."""
        with self.page.expect_download() as download:
            self.menu(clip, "Download", f"as {extension}")
        path = Path(download.value.path())
        return path.rename(path.with_name(f"{path.name}-{download.value.suggested_filename}"))

    def sound(self, clip: Any, extension: str = "wav") -> Clip:
        """The sound of a clip."""
        path = self.download(clip, extension)
        samples, rate = soundfile.read(path, always_2d=True)
        return Clip("", path.read_bytes(), samples, rate)

    def started(self) -> list[dict[str, Any]]:
        """Every sound that the page has started to play."""
        found: list[dict[str, Any]] = self.page.evaluate("() => window.seen.started")
        return found

    def drop(self, place: Any, file: Path, kind: str = "audio/wav") -> None:
        """Drop a file on an element."""
        content = list(file.read_bytes())
        place.evaluate(
            """(element, [content, name, type]) => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(content)], name, { type }));
              element.dispatchEvent(new DragEvent("drop", { bubbles: true, cancelable: true, dataTransfer: data }));
            }""",
            [content, file.name, kind],
        )

    def sent(self) -> list[dict[str, Any]]:
        """Collect the inputs of every prediction that is asked for from now on; of a file, its content."""
        inputs: list[dict[str, Any]] = []

        def note(request: Any) -> None:
            if request.method == "PUT":
                given = json.loads(request.post_data)["input"]
                if "input_audio" in given:
                    content = httpx.get(given["input_audio"]).raise_for_status().content
                    given["input_audio"] = content
                inputs.append(given)

        def keep(route: Any) -> None:
            # A file that was sent is removed with the end of its request, which may come before this looks at it.
            if route.request.method == "DELETE":
                route.fulfill(status=204)
            else:
                route.continue_()

        self.page.route("**/files/*", keep)
        self.page.on("request", note)
        return inputs
