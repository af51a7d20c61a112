"""Files that the service itself gave an address to: results of predictions, and uploads.

The gateway serves them at `/files/TOKEN/NAME`, with a token that nobody can guess. As an input, such an address is read
from the gateway's folder, whose path `serve` hands down to the worker (`MUSICGEN_SERVED_FILES`); nothing is fetched.
"""

import re
from pathlib import Path
from urllib.parse import urlsplit

from musicgen_service import settings

PREFIX = "/files/"
TOKEN = re.compile(r"[0-9a-f]{32}")
NAME = re.compile(r"[A-Za-z0-9_-]+\.[a-z0-9]+")
_PATH = re.compile(rf".*{PREFIX}({TOKEN.pattern})/({NAME.pattern})")
"""Before the prefix may be the path by which a proxy knows the service."""
_MAX_LENGTH = 4096


def split(address: str) -> tuple[str, str] | None:
    """The token and the name in an http(s) address of this form, or None."""
    if len(address) > _MAX_LENGTH:
        return None
    try:
        parts = urlsplit(address.strip())
    except ValueError:
        return None
    found = _PATH.fullmatch(parts.path) if parts.scheme in ("http", "https") else None
    return (found[1], found[2]) if found else None


def find(folder: Path, token: str, name: str) -> Path | None:
    """The file of that token and name in the gateway's folder, or None."""
    if not TOKEN.fullmatch(token) or not NAME.fullmatch(name):
        return None
    file = folder / token / name
    return file if file.is_file() else None


def local_file(address: str) -> Path | None:
    """The file at an address of this service; None for any other address, and without a gateway."""
    found = split(address)
    folder = settings.load().served_files if found else None
    return find(folder, *found) if folder and found else None
