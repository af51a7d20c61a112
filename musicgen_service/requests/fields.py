"""Every input of a request: its type, default and bounds, in one place.

The server's schema checks most of this already, but it may be absent, lets `8.0` through for an
integer and passes on a bare string for a file; so everything is checked here again.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_service.audio.encoding import BIT_DEPTHS, FORMATS
from musicgen_service.audio.reading import AudioInput
from musicgen_service.models.catalogue import CHECKPOINTS
from musicgen_service.requests.tasks import TASKS
from musicgen_service.seeds import MAX_SEED
from musicgen_service.suggestion import did_you_mean

MODEL_VERSIONS = ("auto", *CHECKPOINTS)
NORMALIZATION_STRATEGIES = ("loudness", "clip", "peak", "rms")
SAMPLE_RATES = (32_000, 44_100, 48_000)
MAX_TEXT_LENGTH = 4_000
"""Maximum characters of a prompt or any other text, checked before the text is processed."""
_MAX_QUOTE_LENGTH = 60
"""Maximum characters of a client's own text in an error message."""


@dataclass(frozen=True)
class Field:
    """One input: its type, default and allowed values."""

    kind: type
    """`Path` for a file, which has been decoded to an `AudioInput` before it is checked."""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] | None = None
    description: str = ""


FIELDS = {
    "prompt": Field(str),
    "negative_prompt": Field(str),
    "sections": Field(str),
    "model_version": Field(str, "auto", choices=MODEL_VERSIONS),
    "adapter": Field(str),
    "task": Field(str, "auto", choices=("auto", *TASKS)),
    "input_audio": Field(Path),
    "duration": Field(float, 8.0, 1, 600),
    "continuation": Field(bool, False),
    "continuation_start": Field(float, 0.0, 0, 900),
    "continuation_end": Field(float, None, -1, 900),
    "multi_band_diffusion": Field(bool, False),
    "normalization_strategy": Field(str, "loudness", choices=NORMALIZATION_STRATEGIES),
    "top_k": Field(int, 250, 0, 2048),
    "top_p": Field(float, 0.0, 0, 1),
    "temperature": Field(float, 1.0, 0, 10),
    "classifier_free_guidance": Field(float, 3.0, 0, 20),
    "bpm": Field(float, None, 40, 300),
    "time_signature": Field(str),
    "text_chords": Field(str),
    "audio_chords": Field(Path),
    "variations": Field(int, 1, 1, 20),
    "beat_sync_threshold": Field(float, 0.75, 0, 10),
    "chroma_coefficient": Field(float, 1.0, 0.5, 2.5),
    "return_stems": Field(bool, False),
    "return_midi": Field(bool, False),
    "trim_to_bars": Field(bool, False),
    "repeat": Field(int, 1, 1, 64),
    "fade_in": Field(float, 0.0, 0, 60),
    "fade_out": Field(float, 0.0, 0, 60),
    "output_format": Field(str, "wav", choices=FORMATS),
    "sample_rate": Field(int, None, choices=SAMPLE_RATES),
    "bit_depth": Field(int, 16, choices=tuple(BIT_DEPTHS["wav"])),
    "seed": Field(int, None, -1, MAX_SEED),
}


def check(fields: Mapping[str, Field], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Convert inputs to their fields' types, with defaults for what is missing or None; also return the problems found.

    A field that failed its check is not among the values.
    """
    problems = [unknown_input(name, fields) for name in inputs if name not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            values[name] = _check_value(name, field, inputs.get(name))
        except ValueError as error:
            problems.append(str(error))
    return values, problems


def parse_text(name: str, field: Field, text: str) -> Any:
    """Convert a text to the type of a field that is neither text nor a file.

    Raises
    ------
    ValueError
        With one sentence, when the text is no value of that type; bounds are not checked.
    """
    if field.kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{name} must be true or false, not '{text}'.")
        return text.lower() == "true"
    try:
        return field.kind(text)
    except ValueError:
        raise ValueError(f"{name} must be {allowed_numbers(field)}, not '{text}'.") from None


def unknown_input(name: str, known: Iterable[str]) -> str:
    """The error message for an unknown input."""
    quoted = name if len(name) <= _MAX_QUOTE_LENGTH else name[: _MAX_QUOTE_LENGTH - 3] + "..."
    return f"There is no input '{quoted}'{did_you_mean(quoted, known)}."


def allowed_numbers(field: Field) -> str:
    """Describe the numbers that a field accepts, in words."""
    noun = "a whole number" if field.kind is int else "a number"
    low, high = field.minimum, field.maximum
    if low is None:
        return noun if high is None else f"{noun} up to {high:.10g}"
    return f"{noun} of {low:g} or more" if high is None else f"{noun} from {low:g} to {high:.10g}"


def _check_value(name: str, field: Field, value: Any) -> Any:
    """Convert a value to its field's type and check its bounds; raises ValueError with one sentence."""
    if value is None:
        return field.default
    if field.kind is Path:
        # An address has already been fetched and decoded here; Cog passes on anything that is not a URL as text.
        if not isinstance(value, AudioInput):
            raise ValueError(f"{name} must be an http(s) URL or a data URI, not {_quoted(value)}.")
        return value
    if field.kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {_quoted(value)}.")
        return value
    if field.kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {_quoted(value)}.")
        if len(value) > MAX_TEXT_LENGTH:
            raise ValueError(f"The {name} has {len(value)} characters; at most {MAX_TEXT_LENGTH} are allowed.")
        if field.choices and value not in field.choices:
            raise ValueError(f"{_one_of(name, field)}, not {_quoted(value)}{did_you_mean(value, names(field))}.")
        return value
    if field.choices:
        if isinstance(value, bool) or value not in field.choices:
            raise ValueError(f"{_one_of(name, field)}, not {_quoted(value)}.")
        return field.kind(value)
    return _check_number(name, field, value)


def names(field: Field) -> list[str]:
    """The choices of a field as text; none where it has no choices."""
    return [str(choice) for choice in field.choices or ()]


def _one_of(name: str, field: Field) -> str:
    return f"{name} must be one of {', '.join(names(field))}"


def _check_number(name: str, field: Field, value: Any) -> int | float:
    # Comparisons with these are false for NaN, for infinities and for integers that no float can hold.
    low = -sys.float_info.max if field.minimum is None else field.minimum
    high = sys.float_info.max if field.maximum is None else field.maximum
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and low <= value <= high) or (field.kind is int and value != int(value)):
        raise ValueError(f"{name} must be {allowed_numbers(field)}, not {_quoted(value)}.")
    return field.kind(value)


def _quoted(value: Any) -> str:
    try:
        text = repr(value[:_MAX_QUOTE_LENGTH] if isinstance(value, (str, bytes)) else value)
    except ValueError:  # Python does not format integers of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MAX_QUOTE_LENGTH else text[: _MAX_QUOTE_LENGTH - 3] + "..."
