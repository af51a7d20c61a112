"""Licences of installed packages: `python -m tests.support.licences` fails on one that is not permissive."""

import re
import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

_ALONE = "requirements-no-deps.txt"
FILES = ("requirements.txt", "requirements-train.txt", _ALONE)
_COPYLEFT = re.compile(r"(?<![A-Za-z])A?GPL|GNU (Affero )?General Public", re.IGNORECASE)
_LESSER = re.compile(r"LGPL|GNU Lesser|GNU Library", re.IGNORECASE)
# Shared libraries that README.md names.
LESSER_ALLOWED = {"soxr", "lameenc"}
_EXCEPTION = re.compile(r"GCC-exception|Runtime-Library", re.IGNORECASE)


def found(*further: str) -> dict[str, str]:
    """Each installed package that the service needs, or one of further files, by name, with its licence."""
    todo = [name for file in (*FILES, *further) for name in _named(file)]
    alone = _named(_ALONE)
    licences: dict[str, str] = {}
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in licences:
            continue
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue  # for another platform or an extra
        licences[name] = licence(package)
        needs = [] if name in alone else package.requires or []
        todo += [re.split(r"[^\w.-]", need)[0] for need in needs if "extra ==" not in need]
    return licences


def _named(file: str) -> list[str]:
    return [re.split(r"==", line)[0] for line in Path(file).read_text().splitlines() if line[:1].isalpha()]


def licence(package: Distribution) -> str:
    """A package's licence according to its metadata, in one line."""
    metadata = package.metadata
    expression = metadata["License-Expression"]
    if expression:
        return str(expression)
    classifiers = [
        line.rpartition("::")[2].strip() for line in metadata.get_all("Classifier") or [] if "License" in line
    ]
    text = (metadata["License"] or "").strip().splitlines()
    return "; ".join([*classifiers, *text[:1]]) or "not said"


def objections(licences: dict[str, str]) -> list[str]:
    """The packages with a forbidden licence, with the reason."""
    wrong = []
    for name, text in licences.items():
        # Where there is a choice between licences, one that is permissive will do.
        choices = [choice for choice in re.split(r"\bOR\b", text) if not _COPYLEFT.search(_EXCEPTION.sub("", choice))]
        if not choices and not _EXCEPTION.search(text):
            wrong.append(f"{name}: {text}")
        elif _LESSER.search(text) and name not in LESSER_ALLOWED:
            wrong.append(f"{name}: {text} (only as a library of its own: add it to README.md and LESSER_ALLOWED)")
    return wrong


def main() -> None:
    """Print all licences; exits with 1 when one is not allowed."""
    licences = found()
    for name, text in sorted(licences.items()):
        print(f"{name:28} {text[:90]}")
    if wrong := objections(licences):
        sys.exit("not allowed:\n" + "\n".join(wrong))


if __name__ == "__main__":
    main()
