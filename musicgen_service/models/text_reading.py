"""How much of a text its encoder understands, judged by the encoder's own tokens."""

import re
import unicodedata
from dataclasses import dataclass

_WORD = re.compile(r"\S+")
_TEMPO = re.compile(r"[\d\W]*bpms?\W*", re.IGNORECASE)
"""A part of a tempo such as `90 bpm`, which is the same in every language."""


@dataclass(frozen=True)
class TextReading:
    """How much of a text an encoder reads and knows.

    Attributes
    ----------
    tokens : number of tokens of the text, including the end-of-text token
    limit : maximum number of tokens that the encoder reads
    end : number of characters that it reads
    words : number of words, without numbers and their units
    known : number of words of which it has a token longer than a letter; T5 spells unknown words letter by letter
    """

    tokens: int
    limit: int
    end: int
    words: int
    known: int


def read(text: str, spans: list[tuple[int, int]], known: list[tuple[int, int]], limit: int) -> TextReading:
    """Determine how much of a text an encoder reads and knows.

    Parameters
    ----------
    spans : first character and end of each token, including the end-of-text token
    known : the spans of the tokens in the encoder's vocabulary
    limit : maximum number of tokens that it reads
    """
    # The last token read is the end-of-text token.
    end = len(text) if len(spans) <= limit else spans[limit - 2][1]
    words = [word.span() for word in _WORD.finditer(text) if _count_symbols(word[0]) and not _TEMPO.fullmatch(word[0])]
    return TextReading(len(spans), limit, end, len(words), _known_words(text, words, known))


def _known_words(text: str, words: list[tuple[int, int]], tokens: list[tuple[int, int]]) -> int:
    """Count the words with a token of more than one letter, or of one in a one-letter word; both lists are in order."""
    count = index = 0
    for start, end in words:
        while index < len(tokens) and tokens[index][1] <= start:
            index += 1
        symbols = _count_symbols(text[start:end])
        is_known = False
        while index < len(tokens) and tokens[index][0] < end:
            token = text[max(start, tokens[index][0]) : min(end, tokens[index][1])]
            is_known = is_known or _count_symbols(token) >= min(2, symbols)
            index += 1
        count += is_known
    return count


def _count_symbols(text: str) -> int:
    """Count the letters and pictographs of a text."""
    return sum(character.isalpha() or unicodedata.category(character) == "So" for character in text)


_ADVICE = "describe it in plain English, by genre, instruments and tempo"


def notes(name: str, prompt: TextReading, description: TextReading) -> list[str]:
    """Write notes to the client about text that has no effect or is not understood, one sentence each.

    Parameters
    ----------
    name : of the model
    prompt, description : readings of the client's prompt, and of the complete description given to the model
    """
    sentences = []
    if description.tokens > description.limit:
        sentences.append(
            f"The prompt is {description.tokens} tokens long and the text encoder reads {description.limit}: "
            f"what comes after its first {description.end} characters has no effect."
        )
    if prompt.words and not prompt.known:
        sentences.append(f"The text encoder of model '{name}' knows none of the prompt's words: {_ADVICE}.")
    elif 2 * prompt.known < prompt.words:
        sentences.append(
            f"The text encoder of model '{name}' knows {prompt.known} of the prompt's {prompt.words} words: {_ADVICE}."
        )
    return sentences
