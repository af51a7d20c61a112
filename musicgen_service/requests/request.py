"""One request: every input, its bounds and the rules between inputs, in one place.

The server's schema checks most of this already, but it may be absent, lets `8.0` through for an
integer and hands a bare string through for a file; so everything is checked here again.
"""

import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from musicgen_service.audio.encoding import FORMATS
from musicgen_service.audio.reading import AudioInput
from musicgen_service.models import catalogue
from musicgen_service.models.store import fetch_hint
from musicgen_service.notes import note
from musicgen_service.requests import tempo, unused
from musicgen_service.seeds import MAX_SEED as MAX_SEED
from musicgen_service.suggestion import did_you_mean

TASKS = ("auto", "text", "melody", "continuation", "loop", "remix", "encode-decode")
MODEL_VERSIONS = ("auto", *catalogue.CHECKPOINTS)
NORMALIZATION_STRATEGIES = ("loudness", "clip", "peak", "rms")
MAX_PROMPT = 4_000
"""Characters of a prompt, and of any other text: they are counted before anything looks at them."""
LOOP_SECONDS = (2, 20)
"""What a loop's longest length may be."""
MAX_REMIX_SECONDS = 600

_TASKS_WITH_AUDIO = ("melody", "continuation", "remix", "encode-decode")
_TASKS_ON_WORDS = ("text", "loop")
_MELODY_TASKS = ("melody", "remix")
_RANDOM_SEEDS = (None, 0, -1)
_MOST_SHOWN = 60
"""Characters of a client's own text in a sentence."""


class RequestError(ValueError):
    """What is wrong with a request; one sentence for each problem."""

    __qualname__ = "Invalid request"  # as Cog begins what it tells a client

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        if len(problems) == 1:
            super().__init__(problems[0])
        else:
            numbered = " ".join(f"({number}) {text}" for number, text in enumerate(problems, 1))
            super().__init__(f"{len(problems)} problems: {numbered}")


@dataclass(frozen=True)
class Field:
    """One input: its type, default and what it may be."""

    kind: type
    """`Path` for a file, which is an `AudioInput` by the time that it is checked."""
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] | None = None
    description: str = ""


FIELDS = {
    "prompt": Field(str),
    "model_version": Field(str, "auto", choices=MODEL_VERSIONS),
    "task": Field(str, "auto", choices=TASKS),
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
    "variations": Field(int, 1, 1, 20),
    "beat_sync_threshold": Field(float, 0.75, 0, 10),
    "chroma_coefficient": Field(float, 1.0, 0.5, 2),
    "return_stems": Field(bool, False),
    "output_format": Field(str, "wav", choices=FORMATS),
    "seed": Field(int, None, -1, MAX_SEED),
}


@dataclass(frozen=True)
class GenerationRequest:
    """A request that can be carried out: choices made, seed fixed, times in seconds."""

    prompt: str | None
    model_version: str
    """A checkpoint that is present; never `auto`."""
    task: str
    """What to do; never `auto`."""
    input_audio: AudioInput | None
    duration: float
    continuation: bool
    continuation_start: float
    continuation_end: float | None
    """None: to the end of the file."""
    multi_band_diffusion: bool
    normalization_strategy: str
    top_k: int
    top_p: float
    temperature: float
    classifier_free_guidance: float
    bpm: float | None
    """Never None for a loop."""
    variations: int
    beat_sync_threshold: float
    chroma_coefficient: float
    return_stems: bool
    output_format: str
    seed: int
    """1 to 2^32 - 1; drawn at random when the client left it open."""

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, Any], present: Sequence[str]) -> "GenerationRequest":
        """Check a client's inputs and settle what they leave open.

        Parameters
        ----------
        inputs : values by field name; a missing one, or None, takes its default
        present : names of the checkpoints that can be loaded

        Raises
        ------
        RequestError
            Naming every problem at once.
        """
        values, problems = check(FIELDS, inputs)
        problems += _settle(values, present)
        if problems:
            raise RequestError(problems)
        _tell(values)
        if values["temperature"] < unused.GREEDY_BELOW:
            values["temperature"] = 0.0
        return cls(**values)

    @property
    def description(self) -> str | None:
        """The text given to the model: the prompt, with the tempo when it names none or leaves a choice of several."""
        if self.bpm is None:
            return self.prompt
        if self.prompt is None:
            return f"{self.bpm:g} bpm"
        named = tempo.read(self.prompt)
        if named and not (_is_open(named) and tempo.allows(named, self.bpm)):
            return self.prompt
        return f"{self.prompt}, {self.bpm:g} bpm"

    def as_inputs(self) -> dict[str, Any]:
        """The fields by name, as `from_inputs` takes them."""
        return dict(vars(self))


def check(fields: Mapping[str, Field], inputs: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The inputs in their fields' types, with defaults for what is missing or None; and what is wrong with the rest.

    A field that failed its check is not among the values.
    """
    problems = [unknown_input(name, fields) for name in inputs if name not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        try:
            values[name] = _checked(name, field, inputs.get(name))
        except ValueError as error:
            problems.append(str(error))
    return values, problems


def unknown_input(name: str, known: Iterable[str]) -> str:
    """What to say of an input that there is not."""
    shown = name if len(name) <= _MOST_SHOWN else name[: _MOST_SHOWN - 3] + "..."
    return f"There is no input '{shown}'{did_you_mean(shown, known)}."


def _checked(name: str, field: Field, value: Any) -> Any:
    """The value in its field's type and bounds; raises ValueError with one sentence."""
    if value is None:
        return field.default
    if field.kind is Path:
        # What was an address has been fetched and decoded by now; Cog hands anything that is no URL through as text.
        if not isinstance(value, AudioInput):
            raise ValueError(f"{name} must be an http(s) URL or a data URI, not {_shown(value)}.")
        return value
    if field.kind is bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, not {_shown(value)}.")
        return value
    if field.kind is str:
        if not isinstance(value, str):
            raise ValueError(f"{name} must be text, not {_shown(value)}.")
        if len(value) > MAX_PROMPT:
            raise ValueError(f"The {name} has {len(value)} characters; at most {MAX_PROMPT} are allowed.")
        if field.choices and value not in field.choices:
            near = did_you_mean(value, field.choices)
            raise ValueError(f"{name} must be one of {', '.join(field.choices)}, not {_shown(value)}{near}.")
        return value
    return _checked_number(name, field, value)


def _checked_number(name: str, field: Field, value: Any) -> int | float:
    # Comparisons with these are false for NaN, for infinities and for integers that no float can hold.
    low = -sys.float_info.max if field.minimum is None else field.minimum
    high = sys.float_info.max if field.maximum is None else field.maximum
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (is_number and low <= value <= high) or (field.kind is int and value != int(value)):
        raise ValueError(f"{name} must be {allowed_numbers(field)}, not {_shown(value)}.")
    return field.kind(value)


def allowed_numbers(field: Field) -> str:
    """What a field of numbers takes, in words."""
    noun = "a whole number" if field.kind is int else "a number"
    low, high = field.minimum, field.maximum
    if low is None:
        return noun if high is None else f"{noun} up to {high:.10g}"
    return f"{noun} of {low:g} or more" if high is None else f"{noun} from {low:g} to {high:.10g}"


def _shown(value: Any) -> str:
    try:
        text = repr(value[:_MOST_SHOWN] if isinstance(value, (str, bytes)) else value)
    except ValueError:  # Python writes out no integer of more than 4,300 digits
        return "a number of thousands of digits"
    return text if len(text) <= _MOST_SHOWN else text[: _MOST_SHOWN - 3] + "..."


def _settle(values: dict[str, Any], present: Sequence[str]) -> list[str]:
    """Replace every `auto` and open end in `values`; return what stands in the way.

    A field that failed its own check is not in `values`; a rule that reads it is left out, so that one
    mistake is not reported twice.
    """
    if "prompt" in values and not (values["prompt"] or "").strip():
        values["prompt"] = None
    if values.get("continuation_end") == -1:
        values["continuation_end"] = None
    if values.get("seed") in _RANDOM_SEEDS:
        values["seed"] = secrets.randbelow(MAX_SEED) + 1
    problems = []
    if values.keys() >= {"task", "continuation", "input_audio", "prompt"}:
        problems += _task_problems(values)
    if values.keys() >= {"prompt", "bpm"}:
        problems += _prompt_problems(values)
    if values.keys() >= {"task", "continuation", "input_audio", "model_version", "multi_band_diffusion"}:
        problems += _model_problems(values, present)
    if values.keys() >= {"task", "input_audio", "continuation_start", "continuation_end", "duration"}:
        problems += _audio_problems(values)
    if values.keys() >= {"task", "prompt", "bpm", "duration"} and values["task"] == "loop":
        problems += _loop_problems(values)
    if values.keys() >= {"task", "return_stems"} and values["return_stems"] and values["task"] != "remix":
        problems.append(f"return_stems is for task 'remix', and task is '{values['task']}': leave it out.")
    return problems


def _task_problems(values: dict[str, Any]) -> list[str]:
    task, audio = values["task"], values["input_audio"]
    if values["continuation"] and task not in ("auto", "continuation"):
        return [f"continuation is true but task is '{task}': leave one of them out."]
    if task == "auto":
        without_flag = "text" if audio is None else "melody"
        task = "continuation" if values["continuation"] else without_flag
        values["task"] = task
    values["continuation"] = task == "continuation"
    if task in _TASKS_WITH_AUDIO and audio is None:
        return [f"Task '{task}' needs input_audio."]
    if task in _TASKS_ON_WORDS and audio is not None:
        return [f"Task '{task}' takes no input_audio: use 'melody' to follow it or 'continuation' to go on from it."]
    if task == "text" and values["prompt"] is None:
        return ["Give a prompt, input_audio, or both."]
    return []


def _prompt_problems(values: dict[str, Any]) -> list[str]:
    prompt, bpm = values["prompt"], values["bpm"]
    if prompt is None:
        return []
    problems = []
    if any("\ud800" <= character <= "\udfff" for character in prompt):
        problems.append("The prompt holds half characters (unpaired surrogates): send valid Unicode text.")
    named = tempo.read(prompt)
    if bpm is not None and not tempo.allows(named, bpm):
        problems.append(f"The prompt says {tempo.listed(named)} but bpm is {bpm:g}: leave one of them out.")
    return problems


def _loop_problems(values: dict[str, Any]) -> list[str]:
    seconds = values["duration"]
    problems = _loop_tempo_problems(values) if values["bpm"] is None else []
    if not LOOP_SECONDS[0] <= seconds <= LOOP_SECONDS[1]:
        allowed = "from {} to {} s".format(*LOOP_SECONDS)
        problems.append(f"For task 'loop' duration is the longest that the loop may be, {allowed}, not {seconds:g} s.")
    return problems


def _loop_tempo_problems(values: dict[str, Any]) -> list[str]:
    """Take a loop's tempo from the prompt: the one it names, or the middle of its range."""
    slowest, fastest = FIELDS["bpm"].minimum, FIELDS["bpm"].maximum
    assert slowest is not None and fastest is not None
    named = tempo.read(values["prompt"] or "")
    if not named:
        return [
            f"Task 'loop' needs bpm, from {slowest} to {fastest}, or a prompt that names a tempo, such as '120 bpm'."
        ]
    if len(named) > 1:
        return [f"The prompt says {tempo.listed(named)}, and a loop has one tempo: say which with bpm."]
    if not slowest <= named[0].middle <= fastest:
        return [f"The prompt says {named[0]}; a loop's tempo may be from {slowest} to {fastest} bpm."]
    values["bpm"] = named[0].middle
    return []


def _is_open(named: Sequence[tempo.Tempo]) -> bool:
    """Whether a prompt leaves a choice between several tempi."""
    return len(named) > 1 or any(found.is_range for found in named)


def _tell(values: Mapping[str, Any]) -> None:
    """Note what has no effect in a request that is allowed, and what was chosen in a client's place."""
    for sentence in unused.without_effect(values, {name: field.default for name, field in FIELDS.items()}):
        note(sentence)
    prompt, bpm = values["prompt"], values["bpm"]
    if prompt is None or values["task"] == "encode-decode":
        return
    named = tempo.read(prompt)
    if bpm is not None and _is_open(named):
        note(f"The prompt says {tempo.listed(named)}; {bpm:g} bpm is used.")
    elif len(named) > 1:
        note(f"The prompt says {tempo.listed(named)}, and the music may follow any of them.")


def _model_problems(values: dict[str, Any], present: Sequence[str]) -> list[str]:
    needs_melody = values["task"] in _MELODY_TASKS
    name = values["model_version"]
    if name == "auto":
        name = catalogue.best(list(present), melody=needs_melody)
        if name is None:
            what = f"No checkpoint for task '{values['task']}' is in the weights folder"
            return [f"{what}: {fetch_hint('melody' if needs_melody else 'small')}."]
        values["model_version"] = name
    checkpoint = catalogue.CHECKPOINTS[name]
    problems = []
    if needs_melody and not checkpoint.takes_melody:
        able = ", ".join(c.name for c in catalogue.CHECKPOINTS.values() if c.takes_melody)
        instead = ", or set continuation to true" if values["task"] == "melody" else ""
        problems.append(f"Model '{name}' takes no melody: use one of {able}{instead}.")
    if values["multi_band_diffusion"] and not checkpoint.uses_released_codec:
        problems.append(
            f"multi_band_diffusion works with the released codec only, and model '{name}' has one of its own."
        )
    if name not in present:
        here = ", ".join(present) or "none"
        problems.append(f"Model '{name}' is not in the weights folder (present: {here}): {fetch_hint(name)}.")
    return problems


def _audio_problems(values: dict[str, Any]) -> list[str]:
    start, end = values["continuation_start"], values["continuation_end"]
    problems = []
    if end is not None and end < 0:
        problems.append(f"continuation_end must be -1 (the end of the file) or at least 0, not {end:g}.")
    elif end is not None and start >= end:
        problems.append(f"continuation_start ({start:g} s) must be before continuation_end ({end:g} s).")
    if values["input_audio"] is None:
        return problems
    length = values["input_audio"].seconds
    if start >= length:
        problems.append(f"continuation_start ({start:g} s) is beyond the end of input_audio ({length:.4g} s).")
    if problems:
        return problems
    part = min(end if end is not None else length, length) - start
    if values["task"] == "continuation" and part >= values["duration"]:
        problems.append(
            f"The audio to go on from is {part:.4g} s long, so duration (the total length) must be more "
            f"than that, not {values['duration']:g} s: raise it or shorten the part with continuation_end."
        )
    if values["task"] == "remix" and part > MAX_REMIX_SECONDS:
        problems.append(
            f"The song to remix is {part:.4g} s long; at most {MAX_REMIX_SECONDS} s are allowed: "
            "choose a part with continuation_start and continuation_end."
        )
    return problems


assert [f.name for f in fields(GenerationRequest)] == list(FIELDS)
