"""Captions of songs: what their owner says, and what is heard in them."""

import json
import re
from pathlib import PurePosixPath
from typing import Any

from musicgen_service.requests import tempo
from musicgen_service.requests.fields import MAX_TEXT_LENGTH
from musicgen_service.training.errors import TrainingError
from musicgen_service.training.sources import SongFile

_KEYS_OF_TEXT = ("caption", "description", "prompt", "text")
_KEY_NAME = re.compile(r"\b([a-g])[\s-]?(#|b|♯|♭|sharp|flat)?[\s-]*(major|minor|maj|min)\b", re.IGNORECASE)
_SHORT_KEY = re.compile(r"(?<![\w#♯♭/])([A-G])(#|b|♯|♭)?m(?![\w#♯♭])")
"""A minor key as musicians write it: `C#m`."""
_METRE = re.compile(r"\b([2-9]|1[0-2])/(2|4|8|16)\b|\bwaltz\b", re.IGNORECASE)
_NUMBER = re.compile(r"^\s*\d{1,3}\s*[-_. )]+\s*")
"""A track's number at the start of a file's name."""


def own_text(song: SongFile) -> str | None:
    """The description beside a song; None without one.

    Raises
    ------
    TrainingError
        When a .json has none, or the text is too long.
    """
    if song.text is None:
        return None
    text = _from_json(song) if song.text_kind == "json" else song.text
    # JSON can hold half characters, which cannot be written.
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    if len(text) > MAX_TEXT_LENGTH:
        raise TrainingError(
            f"The description of {song.name} has {len(text)} characters; {MAX_TEXT_LENGTH} are allowed."
        )
    return text or None


def from_name(song: SongFile) -> str:
    """A description from the name of a file: without a track's number, words apart."""
    stem = _NUMBER.sub("", PurePosixPath(song.name).stem)
    return " ".join(re.sub(r"[_\-]+", " ", stem).split())


def complete(text: str, bpm: float | None, key: str | None, metre: str | None) -> str:
    """Add tempo, key and metre to a description that does not name them.

    Parameters
    ----------
    bpm : beats per minute; None where no beat was heard
    key : such as `A minor`; None where none was heard
    metre : such as `3/4`; None where no beat was heard
    """
    parts = [text] if text else []
    if bpm is not None and not tempo.read(text):
        parts.append(f"{bpm:.0f} bpm")
    if key is not None and not _KEY_NAME.search(text) and not _SHORT_KEY.search(text):
        parts.append(key.lower())
    # 4/4 is what music is without a word about it.
    if metre not in (None, "4/4") and not _METRE.search(text):
        parts.append(str(metre))
    return ", ".join(parts)


def without_trigger(trigger: str | None, text: str) -> str:
    """A description without the words of the trigger, which would also be heard where it is not given."""
    if trigger is None:
        return text
    words = r"\s+".join(map(re.escape, trigger.split()))
    left, count = re.subn(rf"(?<!\w){words}(?!\w)", " ", text, flags=re.IGNORECASE)
    if not count:
        return text
    parts = (" ".join(part.split()) for part in left.split(","))
    return ", ".join(part for part in parts if part)


def with_trigger(trigger: str | None, caption: str) -> str:
    """A caption that begins with the trigger."""
    return ", ".join(part for part in (trigger, caption) if part)


def transposed(caption: str, semitones: int) -> str:
    """A caption whose keys follow a change of pitch."""
    names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    steps = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
    signs = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}

    def moved(match: re.Match[str]) -> str:
        step = steps[match[1].lower()] + signs.get((match[2] or "").lower(), 0) + semitones
        name = names[step % 12]
        return name if match[1].isupper() else name.lower()

    caption = _SHORT_KEY.sub(lambda match: f"{moved(match)}m", caption)
    return _KEY_NAME.sub(lambda match: f"{moved(match)} {match[3]}", caption)


def _from_json(song: SongFile) -> str:
    assert song.text is not None
    try:
        content: Any = json.loads(song.text)
    except ValueError:
        raise TrainingError(f"The .json beside {song.name} cannot be read: write JSON, or a .txt.") from None
    if isinstance(content, str):
        return content
    found = (
        [content[key] for key in _KEYS_OF_TEXT if isinstance(content.get(key), str)]
        if isinstance(content, dict)
        else []
    )
    if not found:
        raise TrainingError(f"The .json beside {song.name} has none of {', '.join(_KEYS_OF_TEXT)}: give one of them.")
    return str(found[0])
