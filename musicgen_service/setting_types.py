"""Types of environment variables: how their text is parsed, and what is allowed."""

import base64
import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from musicgen_service import home


@dataclass(frozen=True)
class Kind:
    """The type of a variable.

    Attributes
    ----------
    allowed : description of the allowed values, completes "must be ..."
    parse : converts the text of the variable; raises ValueError when it is not allowed
    """

    allowed: str
    parse: Callable[[str], Any]


def variable(kind: Kind, meaning: str, *, shown: str = "", name: str = "", is_secret: bool = False) -> dict[str, Any]:
    """Metadata of a field of `Settings`.

    Parameters
    ----------
    kind : type of the variable
    meaning : one sentence for docs/operators.md
    shown : the default in words, where its value is not self-explanatory
    name : name of the variable, where it is not `MUSICGEN_` and the field's name
    is_secret : whether no message may quote the value
    """
    return {"kind": kind, "meaning": meaning, "shown": shown, "name": name, "is_secret": is_secret}


def number(low: float, high: float, *, whole: bool = False, above: bool = False, unit: str = "") -> Kind:
    """A number from `low` to `high`; `above` excludes `low` itself."""

    def parse(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high or not math.isfinite(value) or (above and value == low):
            raise ValueError
        return value

    what = ("a whole number" if whole else "a number") + (f" of {unit}" if unit else "")
    bounds = f"above {low:,g}" if above else f"from {low:,g} to {high:,g}"
    return Kind(f"{what} {bounds}", parse)


def choice(*allowed: str) -> Kind:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError
        return text

    return Kind(f"one of {', '.join(allowed)}", parse)


def choices(what: str, allowed: Collection[str]) -> Kind:
    """Some of some words, with commas between."""

    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name.strip() for name in text.split(","))
        if not set(names) <= set(allowed):
            raise ValueError
        return names

    return Kind(f"{what} with commas between ({', '.join(allowed)})", parse)


def _listed(what: str, pattern: str) -> Kind:
    """Words in lower case with commas between, each of which matches a pattern."""

    def parse(text: str) -> tuple[str, ...]:
        words = tuple(word.strip().lower() for word in text.split(","))
        if not all(re.fullmatch(pattern, word) for word in words):
            raise ValueError
        return words

    return Kind(what, parse)


def _folder(text: str) -> Path:
    path = home.expanded(text).resolve()
    if path.exists() and not path.is_dir():
        raise ValueError
    return path


def _file(text: str) -> Path:
    path = home.expanded(text).absolute()
    if path.is_dir():
        raise ValueError
    return path


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError
    return text == "1"


def _model_names(text: str) -> Mapping[str, str]:
    found = [_MODEL_NAME.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise ValueError
    return MappingProxyType({part[1]: part[2] for part in found if part})


def _public_url(text: str) -> str:
    if not _PUBLIC_URL.fullmatch(text):
        raise ValueError
    return text.rstrip("/")


def _webhook_secret(text: str) -> str:
    key = base64.b64decode(text.removeprefix(_SECRET_PREFIX), validate=True)
    if not text.startswith(_SECRET_PREFIX) or not 24 <= len(key) <= 64:
        raise ValueError
    return text


_MODEL_NAME = re.compile(r"([\w.-]+/[\w.-]+|[0-9a-f]{8,64}) *= *([\w.-]+/[\w.-]+)", re.ASCII)
_PUBLIC_URL = re.compile(r"https?://[^\s/?#@\\]+(/[^\s?#\\]*)?")
_SECRET_PREFIX = "whsec_"
FLAG = Kind("1 or 0", _flag)
FOLDER = Kind("a folder", _folder)
FILE = Kind("a file", _file)
_HOST = r"(?:[\w-]+\.)*[\w-]+|\[[0-9a-f:.]+\]"
HOSTS = _listed("names of hosts with commas between", _HOST)
ORIGINS = _listed(
    "origins such as https://music.example.com with commas between, or *", rf"\*|https?://(?:{_HOST})(?::\d+)?"
)
MODEL_NAMES = Kind("like acme/music=meta/musicgen, with commas between", _model_names)
PUBLIC_URL = Kind("like https://music.example.org, perhaps with a path", _public_url)
WEBHOOK_SECRET = Kind("`whsec_` and 24 to 64 bytes in base64", _webhook_secret)
