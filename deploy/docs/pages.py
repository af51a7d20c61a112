"""Gathers the pages of the site from the repository, as plain Markdown that any site generator can read.

Every page is also readable on a code host, where its links work. For the site
- a page from outside docs/ is moved to a path in the site (`PAGES`);
- a link to another page is changed to its path, and the file of any other link is copied;
- `<!-- generated: NAME -->` is replaced by content generated from the code (`GENERATED`).
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
    "deploy/README.md": "deployment.md",
    "weights/README.md": "weights.md",
}
"""Pages from outside docs/: path in the repository to path in the site."""

GENERATED: dict[str, Callable[[], str]] = {
    "inputs of every predictor": http_reference.inputs,
    "help of every command": command_help.commands,
}
"""Generators of content that a page can include by name."""

_GENERATED = re.compile(r"<!-- generated: (.*?) -->")
_FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!\w+:|#)([^)\s#]+)")
_STYLE = Path(__file__).with_name("site.css")
_SUFFIXES_KEPT = (".png", ".txt")


def gather(target: Path) -> None:
    """Write every page, and every file that a page links to, into a folder.

    Parameters
    ----------
    target : the folder; its previous content is removed
    """
    shutil.rmtree(target, ignore_errors=True)
    sources = [*map(Path, PAGES), *(page.relative_to(PROJECT) for page in PROJECT.glob("docs/**/*.md"))]
    for source in sources:
        text = _GENERATED.sub(lambda match: GENERATED[match[1]](), (PROJECT / source).read_text())
        page = target / site_path(source)
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(rewrite_links(text, source))
        for file in linked_files(text, source):
            if file.suffix != ".md":
                copy = target / site_path(file)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PROJECT / file, copy)
    shutil.copy(_STYLE, target)


def site_path(path: Path) -> Path:
    """The path in the site of a file of the repository.

    A source file gets the suffix .txt, so that a browser displays it instead of downloading it.
    """
    if str(path) in PAGES:
        return Path(PAGES[str(path)])
    if path.parts[0] == "docs":
        return Path(*path.parts[1:])
    return Path("files", path if path.suffix in _SUFFIXES_KEPT else f"{path}.txt")


def linked_files(text: str, source: Path) -> list[Path]:
    """The files of the repository that a page links to.

    Parameters
    ----------
    text : content of the page, in Markdown
    source : its path in the repository
    """
    targets = (_resolve(link, source) for part in _FENCE.split(text)[::2] for link in _LINK.findall(part))
    return [target for target in targets if (PROJECT / target).is_file()]


def rewrite_links(text: str, source: Path) -> str:
    """Rewrite the links of a page for the site.

    A link to a missing file is unchanged, so that MkDocs reports it.

    Parameters
    ----------
    text, source : see `linked_files`
    """

    def rewrite(match: re.Match[str]) -> str:
        target = _resolve(match[1], source)
        if not (PROJECT / target).is_file():
            return match[0]
        return f"]({os.path.relpath(site_path(target), site_path(source).parent)}"

    parts = _FENCE.split(text)
    parts[::2] = [_LINK.sub(rewrite, part) for part in parts[::2]]
    return "".join(parts)


def _resolve(link: str, source: Path) -> Path:
    """Resolve a link in a page to a path in the repository."""
    return Path(os.path.normpath(source.parent / link))
