"""Gathers the pages of the site from the repository, as plain Markdown that any site generator can read.

Every page is written to be read on a forge as well, with links that are right there. On its way to the site
- a page from outside docs/ gets a place there (`PAGES`);
- a link to another page leads to its place, and the file of any other link is copied;
- `<!-- generated: NAME -->` is replaced by what the code says of itself (`GENERATED`).
"""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from deploy.docs import command_help, http_reference
from musicgen_service.predictors import PROJECT

PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "bench/README.md": "benchmarks.md",
    "compat/README.md": "drop-ins.md",
    "demo/README.md": "demo.md",
    "weights/README.md": "weights.md",
}
"""Pages from outside docs/, by their path in the repository, and their place in the site."""

GENERATED: dict[str, Callable[[], str]] = {
    "inputs of every predictor": http_reference.inputs,
    "help of every command": command_help.commands,
}
"""What a page may ask for by name."""

_GENERATED = re.compile(r"<!-- generated: (.*?) -->")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")
_STYLE = Path(__file__).with_name("site.css")
_SHOWN_AS_IT_IS = (".png", ".txt")


def gather(target: Path) -> None:
    """Write every page, and every file that a page links to, into a folder; what was there goes.

    Parameters
    ----------
    target : the folder
    """
    shutil.rmtree(target, ignore_errors=True)
    sources = [*map(Path, PAGES), *(page.relative_to(PROJECT) for page in PROJECT.glob("docs/**/*.md"))]
    for source in sources:
        text = _GENERATED.sub(lambda found: GENERATED[found[1]](), (PROJECT / source).read_text())
        page = target / place(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(relinked(text, source))
        for file in linked(text, source):
            if file.suffix != ".md":
                copy = target / place(file)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PROJECT / file, copy)
    shutil.copy(_STYLE, target)


def place(path: Path) -> Path:
    """Where a file of the repository is in the site.

    A source file gets the suffix .txt, so that a browser shows it and does not save it.
    """
    if str(path) in PAGES:
        return Path(PAGES[str(path)])
    if path.parts[0] == "docs":
        return Path(*path.parts[1:])
    return Path("files", path if path.suffix in _SHOWN_AS_IT_IS else f"{path}.txt")


def linked(text: str, source: Path) -> list[Path]:
    """The files of the repository that a page links to.

    Parameters
    ----------
    text : of the page, in Markdown
    source : its path in the repository
    """
    targets = (_resolved(link, source) for part in _FENCE.split(text)[::2] for link in _LINK.findall(part))
    return [target for target in targets if (PROJECT / target).is_file()]


def relinked(text: str, source: Path) -> str:
    """The page with the links that it needs in its place in the site.

    A link that leads to no file is left as it is, for MkDocs to report.

    Parameters
    ----------
    text, source : see `linked`
    """

    def changed(found: re.Match[str]) -> str:
        target = _resolved(found[1], source)
        if not (PROJECT / target).is_file():
            return found[0]
        return f"]({os.path.relpath(place(target), place(source).parent)}"

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts)


def _resolved(link: str, source: Path) -> Path:
    """The path in the repository that a link in a page means."""
    return Path(os.path.normpath(source.parent / link))
