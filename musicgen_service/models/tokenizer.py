"""Tokenizer of the text encoder."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from musicgen_service.engine.interface import MAX_TEXT_TOKENS
from musicgen_service.models import text_reading
from musicgen_service.models.text_reading import TextReading

_UNKNOWN = "<unk>"


class TextTokenizer:
    """The tokenizer of a T5.

    Parameters
    ----------
    folder : in transformers' format, with `tokenizer.json` and optionally `tokenizer_config.json`

    Raises
    ------
    OSError, ValueError
        When a file is missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text(encoding="utf-8"))
        settings = folder / "tokenizer_config.json"
        config = json.loads(settings.read_text()) if settings.is_file() else {}
        self.limit = min(int(config.get("model_max_length", MAX_TEXT_TOKENS)), MAX_TEXT_TOKENS)
        """Maximum number of tokens of a text."""

    def tokens(self, text: str) -> list[int]:
        """Tokenize a text, truncated to `limit`; the last token is the end-of-text token."""
        tokens = self._tokenizer.encode(text).ids
        return tokens if len(tokens) <= self.limit else [*tokens[: self.limit - 1], tokens[-1]]

    def read(self, text: str) -> TextReading:
        """Determine how much of a text the encoder understands."""
        encoded = self._tokenizer.encode(text)
        known = [
            span
            for token, span in zip(encoded.ids, encoded.offsets, strict=True)
            if token != self._tokenizer.token_to_id(_UNKNOWN)
        ]
        return text_reading.read(text, encoded.offsets, known, self.limit)
