"""The documentation site: builds without a network and without warnings, is complete, and loads nothing external."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from deploy.docs.pages import rewrite_links, site_path
from musicgen_service import predictors
from musicgen_service.cli.main import COMMANDS
from musicgen_service.requests.fields import FIELDS
from musicgen_service.serving import schema

NO_NETWORK = """
import socket
def refuse(*_, **__):
    raise OSError("the build may use no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""
ELSEWHERE = re.compile(r"(https?:)?//")
LOADING = {("img", "src"), ("script", "src"), ("link", "href"), ("iframe", "src"), ("source", "src")}


class Page(HTMLParser):
    """The links of a page, and the anchors in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if (tag, name) in LOADING:
                self.loads.append(value or "")
            elif (tag, name) == ("a", "href"):
                self.links.append(value or "")
            elif name == "id":
                self.places.add(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site that `make docs` builds."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(NO_NETWORK)
    command = [sys.executable, "-m", "deploy.docs", str(folder / "docs")]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    return folder / "docs"


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """The pages of the site, by their path."""
    return {path: Page(path.read_text()) for path in site.rglob("*.html")}


def test_nothing_external_is_loaded(site: Path, pages: dict[Path, Page]) -> None:
    assert [load for page in pages.values() for load in page.loads if ELSEWHERE.match(load)] == []
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", sheet.read_text()), sheet


def test_internal_links_resolve(site: Path, pages: dict[Path, Page]) -> None:
    dead = []
    for path, page in pages.items():
        if path.name == "404.html":
            continue  # its links are for the root of a server
        for link in (*page.links, *page.loads):
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            missing_place = parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places
            if not parts.scheme and (not target.is_file() or missing_place):
                dead.append((str(path.relative_to(site)), link))
    assert dead == []


def test_lists_and_tables_are_rendered(site: Path) -> None:
    """Code hosts render a list or a table right after a line of text; MkDocs would treat it as part of that text."""
    for page in site.rglob("*.html"):
        paragraphs = re.findall(r"<p>(.*?)</p>", page.read_text(), re.DOTALL)
        assert [text for text in paragraphs if re.search(r"^(- |\d\. |\|)", text, re.MULTILINE)] == [], page


@pytest.mark.parametrize("system", [None, *predictors.names()])
def test_the_reference_has_every_input_of_every_predictor(site: Path, system: str | None) -> None:
    title = f"serve --as {system}" if system else "serve"
    text = (site / "http-reference.html").read_text()
    [section] = re.findall(rf"<h2[^>]*><code>{title}</code>.*?(?=<h2|</article>)", text, re.DOTALL)
    named = re.findall(r"<tr>\s*<td><code>(\w+)</code></td>", section)
    schemas = schema.build(predictors.predictor(system))["components"]["schemas"]
    assert named == list(schemas["Input"]["properties"])
    for choice in (choice for entry in schemas.values() for choice in entry.get("enum", ())):
        assert f"<code>{choice}</code>" in section


def test_the_command_line_has_the_help_of_every_command(site: Path) -> None:
    text = (site / "command-line.html").read_text()
    for command in (*COMMANDS, "weights fetch"):
        assert f"usage: python -m musicgen_service {command}" in text


def test_every_input_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \|", Path("docs/inputs.md").read_text(), re.MULTILINE)
    assert [name for name, *_ in rows] == list(FIELDS)
    for name, default, allowed in rows:
        field = FIELDS[name]
        shown = f"{field.default:g}" if type(field.default) in (int, float) else str(field.default).lower()
        assert default.strip("`") == shown, name
        if field.choices:
            assert allowed == ", ".join(f"`{choice}`" for choice in field.choices)
        elif field.minimum is not None:
            assert allowed == f"{field.minimum:g} to {field.maximum:.10g}"


def test_the_readme_is_short() -> None:
    assert len(Path("README.md").read_text().splitlines()) <= 120


def test_links_are_rewritten_for_pages_and_copies() -> None:
    text = "[a](../README.md#x) [b](speed.md) [c](../bench/speed.py) ![d](pictures/loop.png) [e](https://example.com)"
    assert rewrite_links(text, Path("docs/inputs.md")) == (
        "[a](index.md#x) [b](speed.md) [c](files/bench/speed.py.txt) ![d](pictures/loop.png) [e](https://example.com)"
    )
    assert (
        rewrite_links("[a](docs/inputs.md)", Path("bench/README.md")) == "[a](docs/inputs.md)"
    )  # MkDocs says it is missing
    assert rewrite_links("```\n[a](../README.md)\n```", Path("docs/inputs.md")) == "```\n[a](../README.md)\n```"
    assert site_path(Path("demo/pictures/codec.png")) == Path("files/demo/pictures/codec.png")
