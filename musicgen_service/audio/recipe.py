"""Recipes: the inputs with which a clip was made, stored in the file's own tags.

The recipe is one JSON object in the comment tag.
"""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from musicgen_service import __version__
from musicgen_service.audio import encoding, ffmpeg
from musicgen_service.audio.music import Music
from musicgen_service.audio.tags import Tags

_MARK = "musicgen_service"
_DIGEST = "_sha256"
SEPARATOR = "separator"
"""What took the recording apart: to know, as another one gives other stems; it is no input."""
ADAPTERS = "adapters_sha256"
"""The SHA-256 of each adapter by its name: to know; it is no input."""
SECTION_TIMES = "section_times"
"""Name, start and end of each section, in seconds: to know, as they follow from the inputs."""
MUSIC = "music"
"""Tempo and key of the clip, and the bars of a loop, as far as they are known: see `Music`."""
_KNOWLEDGE = (_MARK, SEPARATOR, SECTION_TIMES, MUSIC, ADAPTERS)
"""What is no input, beside the digests of files."""
_TITLE_LENGTH = 100


class RecipeError(ValueError):
    """The file contains no recipe of this service."""


def digest_name(name: str) -> str:
    """The name, beside that of an input that is a file, under which a recipe has the SHA-256 of its content."""
    return name + _DIGEST


def files(recipe: Mapping[str, Any]) -> dict[str, str]:
    """The inputs of a recipe that are files, with the SHA-256 of their content."""
    return {
        name.removesuffix(_DIGEST): digest
        for name, digest in recipe.items()
        if name.endswith(_DIGEST) and name.removesuffix(_DIGEST) in recipe
    }


def tags(recipe: Mapping[str, Any]) -> Tags:
    """Build the tags of a clip, given its recipe."""
    words = " ".join((recipe.get("prompt") or "").split())
    title = "".join(character for character in words if character.isprintable())[:_TITLE_LENGTH] or recipe["task"]
    # As unescaped UTF-8: a wav file can hold no more than 32 KB here.
    comment = json.dumps({_MARK: __version__, **recipe}, ensure_ascii=False)
    return Tags(title, comment, f"musicgen-service {__version__}", music(recipe))


def music(recipe: Mapping[str, Any]) -> Music:
    """What a recipe tells of the clip's music."""
    return Music(**recipe.get(MUSIC, {}))


def converted(recipe: Mapping[str, Any], extension: str) -> dict[str, Any]:
    """The recipe of a clip in another format, with the nearest bit depth that the format has."""
    depths = encoding.BIT_DEPTHS.get(extension, ())
    changed = {"output_format": extension} | (
        {"bit_depth": min(recipe.get("bit_depth", 16), max(depths))} if depths else {}
    )
    return {**recipe, **changed}


def read(path: Path) -> dict[str, Any]:
    """Read the inputs with which a file was made, and the version of the service.

    Raises
    ------
    RecipeError
        When the file does not exist or was not made by this service.
    """
    if not path.is_file():
        raise RecipeError(f"There is no file {path}.")
    for comment in (_sndfile_comment(path), _ffmpeg_comment(path)):
        try:
            recipe = json.loads(comment)
        except ValueError:
            continue
        if isinstance(recipe, dict) and _MARK in recipe:
            return recipe
    raise RecipeError(f"{path} carries no recipe: it was not made by this service, or its tags were removed.")


def command(recipe: Mapping[str, Any], python: str, output: Path) -> str:
    """Build the POSIX shell command that makes the clip again; input files, or what is at addresses, must be unchanged.

    Parameters
    ----------
    python : command that starts the interpreter
    output : path of the new clip

    Raises
    ------
    RecipeError
        When the recipe contains a NUL character, which a command line cannot contain.
    """
    words = [python, "-m", "musicgen_service", "predict"]
    own = files(recipe)
    digests = {digest_name(name) for name in own}
    for name, value in recipe.items():
        if name in _KNOWLEDGE or name in digests or value is None:
            continue
        is_path = name in own and "://" not in value
        words += ["-i", f"{name}={f'@{value}' if is_path else _as_argument(value)}"]
    line = shlex.join([*words, "-o", str(output)])
    if "\0" in line:
        raise RecipeError("The recipe holds a NUL character, which no command line can carry.")
    return line


def _as_argument(value: Any) -> str:
    if isinstance(value, bool):
        return json.dumps(value)
    # A value that starts with @ would be read from a file.
    return f"@{value}" if str(value).startswith("@") else str(value)


def _sndfile_comment(path: Path) -> str:
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            return str(file.comment)
    except soundfile.LibsndfileError:
        return ""


def _ffmpeg_comment(path: Path) -> str:
    """Read the comment of an mp3, or of a wav whose comment exceeds the 2 KB that libsndfile reads."""
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
