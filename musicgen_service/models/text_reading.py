"""What a text encoder's own tokens show of how much of a text it understands."""

import re
import unicodedata
from dataclasses import dataclass

MOST_TOKENS = 512
"""Tokens that T5 was trained to read; the time its attention takes grows with their square."""
_WORD = re.compile(r"\S+")
_TEMPO = re.compile(r"[\d\W]*bpms?\W*", re.IGNORECASE)
"""A part of a tempo, which is the same in every language."""


@dataclass(frozen=True)
class TextReading:
    """How a text encoder reads a text.

    Attributes
    ----------
    tokens : of the text, its end mark included
    limit : tokens that the encoder reads
    end : characters of the text that it reads
    words : in the text, without numbers and what belongs to them
    known : words of which it has at least a part, and not only letters; T5 spells what it does not know
    """

    tokens: int
    limit: int
    end: int
    words: int
    known: int


def read(text: str, spans: list[tuple[int, int]], known: list[tuple[int, int]], limit: int) -> TextReading:
    """How an encoder reads a text.

    Parameters
    ----------
    spans : first character and end of each token, the end mark included
    known : those of the tokens that the encoder knows
    limit : tokens that it reads
    """
    # The last token read is the end mark.
    end = len(text) if len(spans) <= limit else spans[limit - 2][1]
    words = [word.span() for word in _WORD.finditer(text) if _meanings(word[0]) and not _TEMPO.fullmatch(word[0])]
    return TextReading(len(spans), limit, end, len(words), _known_words(text, words, known))


def _known_words(text: str, words: list[tuple[int, int]], pieces: list[tuple[int, int]]) -> int:
    """How many words have a piece of more than one letter, or are one; words and pieces are in order."""
    count = place = 0
    for start, end in words:
        while place < len(pieces) and pieces[place][1] <= start:
            place += 1
        meanings = _meanings(text[start:end])
        is_known = False
        while place < len(pieces) and pieces[place][0] < end:
            piece = text[max(start, pieces[place][0]) : min(end, pieces[place][1])]
            is_known = is_known or _meanings(piece) >= min(2, meanings)
            place += 1
        count += is_known
    return count


def _meanings(text: str) -> int:
    """How many letters a text has, and pictures."""
    return sum(character.isalpha() or unicodedata.category(character) == "So" for character in text)


def notes(name: str, prompt: TextReading, description: TextReading) -> list[str]:
    """What a client should know, in sentences.

    Parameters
    ----------
    name : of the model
    prompt, description : readings of what the client wrote, and of what the model is given
    """
    told = []
    if description.tokens > description.limit:
        told.append(
            f"The prompt is {description.tokens} tokens long and the text encoder reads {description.limit}: "
            f"what comes after its first {description.end} characters has no effect."
        )
    if prompt.words and not prompt.known:
        told.append(f"The text encoder of model '{name}' knows none of the prompt's words: describe it in English.")
    elif 2 * prompt.known < prompt.words:
        told.append(
            f"The text encoder of model '{name}' knows {prompt.known} of the prompt's {prompt.words} words: "
            "describe it in English."
        )
    return told
