"""Names of keys in other languages, as English ones: "Cis-Moll" is C# minor, "si bémol majeur" Bb major."""

import re

_GERMAN = re.compile(r"\b([A-H])(is|es|(?<=[AE])s)?[\s-]*(dur|moll)\b", re.IGNORECASE)
_GERMAN_NOTES = {"H": "B", "B": "Bb"}
_SYLLABLES = {"do": "C", "re": "D", "ré": "D", "mi": "E", "fa": "F", "sol": "G", "la": "A", "si": "B"}
_SHARP, _FLAT = ("#", "dièse", "diesis", "sostenido", "sustenido"), ("b", "bémol", "bemol", "bemolle")
_MAJOR, _MINOR = ("majeur", "maggiore", "mayor", "maior"), ("mineur", "minore", "menor")
_ROMANCE = re.compile(
    rf"\b({'|'.join(_SYLLABLES)})[\s-]*+(?:({'|'.join((*_SHARP, *_FLAT))})[\s-]*+)?({'|'.join((*_MAJOR, *_MINOR))})\b",
    re.IGNORECASE,
)


def in_english(text: str) -> str:
    """Replace the German, French, Italian, Spanish and Portuguese names of keys in a text by English ones.

    A German B is Bb, and the German H is B.
    """
    return _ROMANCE.sub(_from_romance, _GERMAN.sub(_from_german, text))


def _from_german(found: re.Match[str]) -> str:
    letter, sign, mode = found[1].upper(), (found[2] or "").lower(), found[3].lower()
    accidental = {"is": "#", "": ""}.get(sign, "b")
    tonic = f"{letter}{accidental}" if accidental else _GERMAN_NOTES.get(letter, letter)
    return f"{tonic} {'major' if mode == 'dur' else 'minor'}"


def _from_romance(found: re.Match[str]) -> str:
    sign = (found[2] or "").lower()
    accidental = "#" if sign in _SHARP else "b" if sign in _FLAT else ""
    return f"{_SYLLABLES[found[1].lower()]}{accidental} {'major' if found[3].lower() in _MAJOR else 'minor'}"
