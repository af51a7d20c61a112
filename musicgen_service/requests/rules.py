"""Rules between the inputs of a request, each with its error message."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from musicgen_service.audio.encoding import BIT_DEPTHS
from musicgen_service.models import catalogue
from musicgen_service.models.catalogue import fetch_hint
from musicgen_service.requests import (
    adapter_text,
    chord_text,
    recording_rules,
    sections,
    tempo,
    time_signature,
    unicode_text,
)
from musicgen_service.requests.errors import RequestError
from musicgen_service.requests.fields import FIELDS
from musicgen_service.requests.tasks import TASKS, TaskSpec
from musicgen_service.seeds import MAX_SEED

_DURATION_TOLERANCE = 0.01
"""Seconds by which a duration may differ from that of the sections: less than anybody hears."""
_RANDOM_SEEDS = (None, 0, -1)
_TEXTS = ("prompt", "negative_prompt", "sections", "adapter", "text_chords", "time_signature")
_CHORDS = ("text_chords", "audio_chords")
_CHORDS_OF_SECTIONS = "'/ chords:' in sections"


def resolve(values: dict[str, Any], present: Sequence[str], adapters: Mapping[str, str] | None = None) -> list[str]:
    """Replace every `auto` and open end in `values`; return the problems found.

    Parameters
    ----------
    values : by field name, of the fields that passed their own checks. A rule that reads any other field is
        skipped, so that one mistake is not reported twice.
    present : names of the checkpoints that can be loaded
    adapters : names of the adapters, each with its base; None where they are not known here
    """
    for name in _TEXTS:
        if name in values and not (values[name] or "").strip():
            values[name] = None
    if values.get("continuation_end") == -1:
        values["continuation_end"] = None
    if values.get("seed") in _RANDOM_SEEDS:
        values["seed"] = secrets.randbelow(MAX_SEED) + 1
    # Before the rules: an adapter decides which model `auto` is.
    problems = adapter_text.choose_base(values, adapters) if values.get("adapter") is not None else []
    for read, rule in _RULES:
        if values.keys() >= read:
            problems += rule(values, present)
    return problems


def _choose_task(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    audio = values["input_audio"]
    if values["continuation"] and values["task"] not in ("auto", "continuation"):
        return [f"continuation is true but task is '{values['task']}': leave one of them out."]
    if values["task"] == "auto":
        without_audio = "chords" if _given_chords(values) else "text"
        without_flag = without_audio if audio is None else "melody"
        values["task"] = "continuation" if values["continuation"] else without_flag
    values["continuation"] = values["task"] == "continuation"
    task = TASKS[values["task"]]
    if task.takes_audio and audio is None:
        return [f"Task '{task.name}' needs input_audio."]
    if not task.takes_audio and audio is not None:
        return [
            f"Task '{task.name}' takes no input_audio: use 'melody' to follow it or 'continuation' to go on from it."
        ]
    if task.needs_prompt and values["prompt"] is None and values["sections"] is None:
        return ["Give a prompt, input_audio, or both."]
    if task.needs_chords and not _given_chords(values):
        return [f"Task '{task.name}' needs text_chords, audio_chords or sections with '/ chords:'."]
    return []


def _listed(tasks: Iterable[TaskSpec]) -> str:
    return ", ".join(f"'{task.name}'" for task in tasks)


def _given_chords(values: dict[str, Any]) -> list[str]:
    """What says which chords to play."""
    given = [name for name in _CHORDS if values[name] is not None]
    return [*given, _CHORDS_OF_SECTIONS] if sections.name_chords(values["sections"] or "") else given


def _check_unicode(name: str) -> "_Rule":
    def check(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
        if unicode_text.is_valid(values[name] or ""):
            return []
        return [f"The {name} holds half characters (unpaired surrogates): send valid Unicode text."]

    return check


def _check_prompt_tempo(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    prompt, bpm = values["prompt"], values["bpm"]
    if prompt is None or bpm is None or tempo.allows(named := tempo.read(prompt), bpm):
        return []
    return [f"The prompt says {tempo.listed(named)} but bpm is {bpm:g}: leave one of them out."]


def _read_sections(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    """Take the duration from the sections; those of a continuation begin where its audio ends."""
    if values["sections"] is None:
        return []
    task, given = TASKS.get(values["task"]), values["duration"]
    if task is None or not task.takes_sections:
        able = _listed(task for task in TASKS.values() if task.takes_sections)
        return [f"sections are for the tasks {able}, and task is '{values['task']}': leave them out."]
    try:
        parts = sections.read(
            values["sections"], values["prompt"], values["bpm"], time_signature.read(values["time_signature"])
        )
    except RequestError as error:
        return error.problems
    seconds, audio = parts[-1].end, values["input_audio"]
    is_known = not task.keeps_audio or audio is None or recording_rules.is_known(audio)
    if task.keeps_audio and audio is not None and is_known:
        seconds += max(0.0, recording_rules.part_seconds(values))
    field = FIELDS["duration"]
    if field.maximum is not None and seconds > field.maximum:
        return [f"The sections last {seconds:.5g} s in all; at most {field.maximum:g} s are allowed."]
    if is_known and given != field.default and abs(given - seconds) > _DURATION_TOLERANCE:
        return [f"The sections last {seconds:.5g} s in all, but duration is {given:g} s: leave it out."]
    values["duration"] = seconds
    return []


def _check_chords(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    task, given = TASKS.get(values["task"]), _given_chords(values)
    if given and task is not None and not task.takes_chords:
        needs_sections = given[0] == _CHORDS_OF_SECTIONS
        able = _listed(
            task for task in TASKS.values() if task.takes_chords and (task.takes_sections or not needs_sections)
        )
        return [f"{given[0]} is for the tasks {able}, and task is '{task.name}': leave it out."]
    if all(values[name] is not None for name in _CHORDS):
        return ["text_chords and audio_chords each say which chords to play: leave one of them out."]
    if values["text_chords"] is None:
        return []
    try:
        chord_text.read(values["text_chords"])
    except chord_text.ChordTextError as error:
        return [f"text_chords: {error}"]
    return []


def _check_time_signature(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    try:
        time_signature.read(values["time_signature"])
    except ValueError as error:
        values["time_signature"] = None
        return [str(error)]
    return []


def _check_tempo(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    """Where a tempo is needed, take it from the prompt: the one it names, or the middle of its range."""
    task, has_bars = TASKS.get(values["task"]), values["text_chords"] is not None
    if task is None or not (task.needs_tempo or (task.takes_chords and has_bars)) or values["bpm"] is not None:
        return []
    needing, what = (
        (f"Task '{task.name}' needs", task.name) if task.needs_tempo else ("text_chords need", "progression")
    )
    slowest, fastest = FIELDS["bpm"].minimum, FIELDS["bpm"].maximum
    assert slowest is not None and fastest is not None
    named = tempo.read(values["prompt"] or "")
    if not named:
        needed = f"{needing} bpm, from {slowest} to {fastest}"
        return [f"{needed}, or a prompt that names a tempo, such as '120 bpm'."]
    if len(named) > 1:
        return [f"The prompt says {tempo.listed(named)}, and a {what} has one tempo: say which with bpm."]
    if not slowest <= named[0].middle <= fastest:
        return [f"The prompt says {named[0]}; a {what}'s tempo may be from {slowest} to {fastest} bpm."]
    values["bpm"] = named[0].middle
    return []


def _check_duration(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    task, seconds = TASKS.get(values["task"]), values["duration"]
    if task is None or task.duration is None or task.duration[0] <= seconds <= task.duration[1]:
        return []
    allowed = "from {:g} to {:g} s".format(*task.duration)
    return [
        f"For task '{task.name}' duration is the longest that the {task.name} may be, {allowed}, not {seconds:g} s."
    ]


def _check_stems(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    task = TASKS.get(values["task"])
    if not values["return_stems"] or task is None or task.stems:
        return []
    return [f"return_stems is for music that is made, and task '{task.name}' makes none: leave it out."]


def _check_repeat(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    task, longest = TASKS.get(values["task"]), FIELDS["duration"].maximum
    assert longest is not None
    seconds = values["duration"] * values["repeat"]
    if task is None or "repeat" in task.unused or seconds <= longest:
        return []
    return [f"repeat and duration ask for up to {seconds:g} s; at most {longest:g} s are allowed."]


def _check_fades(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    task = TASKS.get(values["task"])
    if task is None or "duration" in task.unused:
        return []  # the length is not known yet
    seconds = values["duration"] * (1 if "repeat" in task.unused else values["repeat"])
    if values["fade_in"] + values["fade_out"] <= seconds:
        return []
    asked = f"fade_in ({values['fade_in']:g} s) and fade_out ({values['fade_out']:g} s)"
    return [f"{asked} are longer together than the clip, {seconds:g} s: shorten them."]


def _check_bit_depth(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    name, bits = values["output_format"], values["bit_depth"]
    depths = BIT_DEPTHS.get(name)
    if depths is None or bits in depths:
        return []
    return [f"{name} has {' or '.join(map(str, depths))} bits, and bit_depth is {bits}: use wav, or fewer."]


def _choose_model(values: dict[str, Any], present: Sequence[str]) -> list[str]:
    task = TASKS.get(values["task"])
    has_chords = bool(_given_chords(values))
    needs_melody = has_chords or (task is not None and task.needs_melody)
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
        what = "chords" if has_chords else "melody"
        problems.append(f"Model '{name}' takes no {what}: use one of {able}{instead}.")
    if values["multi_band_diffusion"] and not checkpoint.uses_released_codec:
        problems.append(
            f"multi_band_diffusion works with the released codec only, and model '{name}' has one of its own."
        )
    if name not in present:
        here = ", ".join(present) or "none"
        problems.append(f"Model '{name}' is not in the weights folder (present: {here}): {fetch_hint(name)}.")
    return problems


_WHAT_IS_ASKED = ("task", "continuation", "input_audio", "sections", *_CHORDS)
_AUDIO_PART = ("input_audio", "audio_chords", "continuation_start", "continuation_end")
_Rule = Callable[[dict[str, Any], Sequence[str]], list[str]]
"""Receives the values and the names of available checkpoints; may replace values; returns the problems found."""

_RULES: tuple[tuple[set[str], _Rule], ...] = (
    ({*_WHAT_IS_ASKED, "prompt"}, _choose_task),
    *(({name}, _check_unicode(name)) for name in _TEXTS),
    ({"task", "sections", *_CHORDS}, _check_chords),
    ({"time_signature"}, _check_time_signature),
    ({"prompt", "bpm"}, _check_prompt_tempo),
    ({*_WHAT_IS_ASKED, "model_version", "multi_band_diffusion"}, _choose_model),
    ({"task", "prompt", "bpm", "text_chords"}, _check_tempo),
    ({"sections", "task", "prompt", "bpm", "time_signature", "duration", *_AUDIO_PART}, _read_sections),
    ({"task", "duration", *_AUDIO_PART}, recording_rules.check_part),
    ({"task", "input_audio", "output_format", "sample_rate"}, recording_rules.check_rate),
    ({"task", "prompt", "bpm", "duration"}, _check_duration),
    ({"task", "return_stems"}, _check_stems),
    ({"task", "duration", "repeat"}, _check_repeat),
    ({"task", "duration", "repeat", "fade_in", "fade_out"}, _check_fades),
    ({"output_format", "bit_depth"}, _check_bit_depth),
)
"""Pairs of the fields that a rule reads and the rule, in the order in which they run."""
