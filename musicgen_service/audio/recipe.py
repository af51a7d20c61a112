"""How a clip was made, kept in the file's own tags.

The recipe is one JSON object in the comment tag.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from musicgen_service import __version__
from musicgen_service.audio import ffmpeg

_MARK = "musicgen_service"
_AUDIO, _AUDIO_DIGEST = "input_audio", "input_audio_sha256"
_TITLE_LENGTH = 100


class RecipeError(ValueError):
    """The file carries no recipe of this service."""


def tags(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The tags of a clip made from these inputs."""
    words = " ".join((inputs.get("prompt") or "").split())
    title = "".join(character for character in words if character.isprintable())[:_TITLE_LENGTH] or inputs["task"]
    # As UTF-8, not escaped: a wav file holds no more than 32 KB here.
    comment = json.dumps({_MARK: __version__, **inputs}, ensure_ascii=False)
    return {"title": title, "comment": comment, "software": f"musicgen-service {__version__}"}


def read(path: Path) -> dict[str, Any]:
    """The inputs, and the version, with which a file was made.

    Raises
    ------
    RecipeError
        When there is no such file or it was not made by this service.
    """
    for comment in (_sndfile_comment(path), _ffmpeg_comment(path)):
        try:
            recipe = json.loads(comment)
        except ValueError:
            continue
        if isinstance(recipe, dict) and _MARK in recipe:
            return recipe
    raise RecipeError(f"{path} carries no recipe: it was not made by this service, or its tags were removed.")


def command(recipe: Mapping[str, Any]) -> str:
    """The shell command that makes the clip again; the audio file, if any, must be the same one."""
    words = ["python", "-m", "musicgen_service", "predict"]
    for name, value in recipe.items():
        if name in (_MARK, _AUDIO_DIGEST) or value is None:
            continue
        text = f"@{value}" if name == _AUDIO else json.dumps(value) if isinstance(value, bool) else str(value)
        words += ["-i", f"{name}={text}"]
    words += ["-o", f"clip.{recipe['output_format']}"]
    return shlex.join(words)


def _sndfile_comment(path: Path) -> str:
    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except soundfile.LibsndfileError:
        return ""


def _ffmpeg_comment(path: Path) -> str:
    """For an mp3, and for a wav whose comment is longer than the 2 KB that libsndfile reads."""
    try:
        text = ffmpeg.run(["-i", str(path.resolve()), "-f", "ffmetadata", "pipe:1"]).decode()
    except ffmpeg.FfmpegError:
        return ""
    # In this format =, ;, #, \ and line ends are escaped by a backslash.
    for line in text.splitlines():
        if line.lower().startswith("comment="):
            return _unescape(line.partition("=")[2])
    return ""


def _unescape(text: str) -> str:
    characters = iter(text)
    return "".join(next(characters, "") if c == "\\" else c for c in characters)
