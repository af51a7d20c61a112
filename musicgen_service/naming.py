"""Names of the files of a request, such as `deep-house_124bpm_Am_s7_02_vocals.wav`.

They hold letters, digits, hyphens and underscores alone, so that every file system, archive and address takes them.
"""

import re
import unicodedata
from collections.abc import Iterable

from musicgen_service.audio.music import Music, key_symbol
from musicgen_service.requests.request import GenerationRequest

MIDI = "mid"
"""The extension of MIDI files."""
SLUG_LENGTH = 40
"""Maximum characters of a prompt in a name."""

_FLATS = {"C#": "Db", "D#": "Eb", "F#": "Gb", "G#": "Ab", "A#": "Bb"}
"""Tonics in letters alone: # has a meaning in addresses."""
_TEMPO = re.compile(r"\d[\d.,]*[\s-]*bpm", re.IGNORECASE)
_LABEL = re.compile(r"_s\d+_((?:\d+_)?[a-z]+|\d+)$", re.ASCII)


def file_name(request: GenerationRequest, music: Music, label: str) -> str:
    """The name of a clip's file: its prompt, its tempo and key as far as they are known, its seed and its label."""
    tempo = [f"{music.tempo:.0f}bpm"] if music.tempo else []
    key = [_letters(music.key)] if music.key else []
    words = [_beginning(request), *tempo, *key, f"s{request.seed}", *([label] if label else [])]
    return f"{'_'.join(words)}.{request.output_format}"


def label(request: GenerationRequest, number: int, part: str = "") -> str:
    """What tells a clip from the others of its request: `02`, `vocals`, `02_vocals`; empty for the only clip.

    Parameters
    ----------
    number : of the variation, from 1; told where there are several
    part : of that variation; empty for the complete clip
    """
    # An underscore sorts after the full stop, so that a clip comes before its parts.
    return "_".join([f"{number:02d}"] * (request.variations > 1) + [part] * bool(part))


def label_in(stem: str) -> str:
    """The label of a clip, given the stem of its name."""
    found = _LABEL.search(stem)
    return found[1] if found else ""


def midi_name(clip: str) -> str:
    """The name of the MIDI file beside a clip, given the clip's."""
    return f"{clip.rpartition('.')[0]}.{MIDI}"


def possible_names(request: GenerationRequest) -> list[str]:
    """The names of all files that a request may produce, without what only its music will tell."""
    names = []
    for number in range(1, request.variations + 1):
        names.append(file_name(request, Music(), label(request, number)))
        if request.return_midi:
            names.append(midi_name(names[-1]))
        if request.return_stems:
            names += [file_name(request, Music(), label(request, number, part)) for part in request.spec.stems]
    return names


def among(request: GenerationRequest, names: Iterable[str]) -> list[str]:
    """Those of some names that a request may produce, whatever the tempo and the key of its music."""
    ends = "|".join(re.escape(name.removeprefix(_beginning(request))) for name in possible_names(request))
    pattern = re.compile(rf"{re.escape(_beginning(request))}(_\d+bpm)?(_[A-G]b?m?)?({ends})")
    return [name for name in names if pattern.fullmatch(name)]


def slug(text: str) -> str:
    """A text in lower-case letters without accents, digits and hyphens; empty where it has none of them."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "-".join(re.findall(r"[a-z0-9]+", plain))[:SLUG_LENGTH].strip("-")


def _beginning(request: GenerationRequest) -> str:
    """What all names of a request begin with: the words of its prompt, whose tempo has a place of its own."""
    return slug(_TEMPO.sub(" ", request.prompt or "")) or request.task


def _letters(key: str) -> str:
    """A key in letters alone: "Gbm" for "F# minor"."""
    symbol = key_symbol(key)
    return _FLATS.get(symbol[:2], symbol[:2]) + symbol[2:]
