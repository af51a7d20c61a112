"""The page's files: small, strict, cached, and independent of where they are served from."""

import re
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx

from deploy import page_libraries
from musicgen_service.serving import page_files
from tests.page.studio import Studio
from tests.support.harness import Server, http_server

FOLDER = page_files.FOLDER
OWN = [path for path in FOLDER.rglob("*.js") if "vendor" not in path.parts]
MAX_BYTES = 250_000


def test_the_page_is_small() -> None:
    loaded = [path for path in FOLDER.rglob("*") if path.suffix in (".js", ".css", ".html", ".svg")]
    assert sum(path.stat().st_size for path in loaded) < MAX_BYTES


def test_vendored_libraries_are_unchanged() -> None:
    assert (page_libraries.FOLDER / page_libraries.SUMS).read_text() == page_libraries.sums()
    for library in page_libraries.LIBRARIES:
        assert (page_libraries.FOLDER / library.name / "LICENSE").read_text()


def test_text_is_only_ever_set_as_text() -> None:
    forbidden = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
    assert [path for path in OWN if forbidden.search(path.read_text())] == []


def test_every_text_is_in_one_file() -> None:
    """Sentences elsewhere are comments, or start with `@`."""
    sentence = re.compile(r'"[A-Z][a-z]+( [a-z]+)+[^"]*"')
    found = {}
    for path in OWN:
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", path.read_text(), flags=re.DOTALL)
        if path.name != "strings.js" and (texts := sentence.findall(code)):
            found[path.name] = texts
    assert found == {}


def test_the_first_screen_waits_for_no_chain_of_modules() -> None:
    """Each module that a preloaded one imports at once is preloaded, too."""
    index = (FOLDER / "index.html").read_text()
    preloaded = {FOLDER / path for path in re.findall(r'<link rel="modulepreload" href="page/(.*?)"', index)}
    todo, needed = [FOLDER / "main.js"], set[Path]()
    while todo:
        module = todo.pop()
        for target in re.findall(r'^(?:import|export) (?:.* from )?"(.*?)";', module.read_text(), re.MULTILINE):
            path = (module.parent / target).resolve()
            if path not in needed:
                needed.add(path)
                todo.append(path)
    assert needed == preloaded


def test_browsers_get_the_page_and_others_the_routes(served: Server) -> None:
    page = served.client.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html") and page.headers["vary"] == "Accept"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert served.client.get("/").json()["service"] == "musicgen-service"


def test_unchanged_files_are_not_sent_again(served: Server) -> None:
    for path, accept in (("/", "text/html"), ("/page/main.js", "*/*")):
        first = served.client.get(path, headers={"Accept": accept})
        again = served.client.get(path, headers={"Accept": accept, "If-None-Match": first.headers["etag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_nothing_beside_the_page_is_served(served: Server) -> None:
    for path in ("/page/../page_files.py", "/page/%2e%2e/page_files.py", "/page/none.js", "/page/", "/page/style"):
        assert served.client.get(path).status_code == 404, path
    assert served.client.post("/page/main.js").status_code == 405


def test_the_page_works_below_a_path_of_a_proxy(browser: Any, served: Server) -> None:
    """A proxy that takes `/music/` from the front of each path, and knows the service by another name."""

    class Proxy(BaseHTTPRequestHandler):
        def forward(self) -> None:
            if not self.path.startswith("/music/"):
                self.send_error(404)
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            kept = ("accept", "content-type", "prefer", "range")
            headers = {name: value for name, value in self.headers.items() if name.lower() in kept}
            headers["accept-encoding"] = "identity"  # this client would decompress it, and keep the header that says so
            url = served.client.base_url.join(self.path.removeprefix("/music"))
            reply = httpx.request(self.command, url, content=body, headers=headers, timeout=60)
            self.send_response(reply.status_code)
            for name, value in reply.headers.items():
                if name not in ("transfer-encoding", "connection", "date"):
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.content)

        do_GET = do_PUT = do_POST = forward

        def log_message(self, format: str, *args: object) -> None:
            """Keep the test's output clean."""

    with http_server(Proxy) as address, Studio.opened(browser, f"{address}/music/") as studio:
        clip = studio.make(prompt="rock", duration=1)
        assert studio.sound(clip, "flac").samples.shape == (32_000, 1)
        clip.locator(".facts", has_text="LUFS").wait_for()
