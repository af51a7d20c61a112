"""Fetches the JavaScript libraries of the page from npm: `python -m deploy.page_libraries`, or `make page-libraries`.

Each is a package of one version and checksum, of which the files that the page loads are kept, with their licence.
"""

import base64
import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "musicgen_service" / "serving" / "page" / "vendor"
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Library:
    """A package on npm.

    Attributes
    ----------
    name, version : of the package
    integrity : of its archive, in the format of package-lock.json
    licence : an SPDX identifier
    files : paths in the package, and their names here
    """

    name: str
    version: str
    integrity: str
    licence: str
    files: dict[str, str]


LIBRARIES = (
    Library(
        "wavesurfer.js",
        "7.11.1",  # later ones are half as large again, for what the page does not use
        "sha512-8Q+wwItpjJAlhQ7crQLtKwgfbqqczm5/wx+76K4PptP+MBAjB0OA78+A9OuLnULz/8GpAQ+fKM6s81DonEO0Sg==",
        "BSD-3-Clause",
        {"dist/wavesurfer.esm.js": "wavesurfer.js", "LICENSE": "LICENSE"},
    ),
    Library(
        "client-zip",
        "2.5.1",
        "sha512-yOvNSBsQX1B7wtdvIVXJEIIShrlPiX+adhli7sWvQhsx3nX1DjvpSt+AwOxaX+3DCsT/Yx0nRy5hIjRLIYfebw==",
        "MIT",
        {"index.js": "index.js", "LICENSE.txt": "LICENSE"},
    ),
    Library(
        "idb",
        "8.0.4",
        "sha512-jd0ITCrN+Zah4J7R/Z2jnR3W7A4BXDAjmo62MwWuSjxCiueUAf7X5rbodEdidWzeknwXHmLpdZkoiiCppNi30Q==",
        "ISC",
        {"build/umd.js": "umd.js", "LICENSE": "LICENSE"},
    ),
)


def fetch(library: Library) -> dict[str, bytes]:
    """Fetch a package with npm; returns the content of its files, by their name here.

    Raises
    ------
    ValueError
        When its checksum or licence differs.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", f"{library.name}@{library.version}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        archive = (Path(folder) / done.stdout.strip()).read_bytes()
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive).digest()).decode()
    if digest != library.integrity:
        raise ValueError(f"{library.name} {library.version} has the checksum {digest}, not {library.integrity}.")
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        contents = {path: _read(package, path) for path in ("package.json", *library.files)}
    licence = json.loads(contents["package.json"])["license"]
    if licence != library.licence:
        raise ValueError(f"{library.name} is under {licence}, not {library.licence}.")
    return {name: contents[path] for path, name in library.files.items()}


def _read(package: tarfile.TarFile, path: str) -> bytes:
    file = package.extractfile(f"package/{path}")
    assert file is not None
    return file.read()


def sums(folder: Path = FOLDER) -> str:
    """The checksums of the files in a folder, in the format of `sha256sum`."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)


def main() -> None:
    """Fetch every library, and write its files and the checksums of all."""
    for library in LIBRARIES:
        for name, content in fetch(library).items():
            target = FOLDER / library.name / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        print(f"{library.name} {library.version}: {', '.join(library.files.values())}")
    (FOLDER / SUMS).write_text(sums())


if __name__ == "__main__":
    main()
