"""Rules on the recording that a request uses: which part of it, how long, and what files can be made of it."""

import math
from collections.abc import Sequence
from typing import Any

from musicgen_service.audio.encoding import MP3_RATES
from musicgen_service.audio.reading import AudioInput
from musicgen_service.requests.tasks import TASKS

REGION_SECONDS = (0.5, 600.0)
"""Minimum and maximum length of a part that is made anew."""


def check_part(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    """Check the part of the recording that is used."""
    name, audio = _part_audio(values)
    start, end = values["continuation_start"], values["continuation_end"]
    problems = []
    if end is not None and end < 0:
        problems.append(f"continuation_end must be -1 (the end of the file) or at least 0, not {end:g}.")
    elif end is not None and start >= end:
        problems.append(f"continuation_start ({start:g} s) must be before continuation_end ({end:g} s).")
    if audio is None or not is_known(audio):
        return problems
    if start >= audio.seconds:
        problems.append(f"continuation_start ({start:g} s) is beyond the end of {name} ({audio.seconds:.4g} s).")
    if problems:
        return problems
    return _check_part_length(values, part_seconds(values))


def is_known(audio: AudioInput) -> bool:
    """Whether its length is known: it is fetched."""
    return not math.isnan(audio.seconds)


def part_seconds(values: dict[str, Any]) -> float:
    """Length of the part of the recording that is used, in seconds."""
    length, end = _part_audio(values)[1].seconds, values["continuation_end"]
    used: float = min(end if end is not None else length, length) - values["continuation_start"]
    return used


def _part_audio(values: dict[str, Any]) -> tuple[str, Any]:
    """The input whose part is used, and the recording, if there is one."""
    task = TASKS.get(values["task"])
    name = "audio_chords" if task and task.needs_chords else "input_audio"
    return name, values[name]


def _check_part_length(values: dict[str, Any], seconds: float) -> list[str]:
    task = TASKS.get(values["task"])
    if task and task.repaints:
        return _check_region(values, seconds)
    if task and task.keeps_audio and seconds >= values["duration"]:
        return [
            f"The audio to go on from is {seconds:.4g} s long, so duration (the total length) must be more "
            f"than that, not {values['duration']:g} s: raise it or shorten the part with continuation_end."
        ]
    if task and task.max_audio_seconds is not None and seconds > task.max_audio_seconds:
        return [
            f"The song to {task.name} is {seconds:.4g} s long; at most {task.max_audio_seconds:g} s are allowed: "
            "choose a part with continuation_start and continuation_end."
        ]
    return []


def _check_region(values: dict[str, Any], seconds: float) -> list[str]:
    """Check the part of the input audio that is made anew."""
    audio = values["input_audio"]
    if seconds >= audio.seconds:
        return [
            "Task 'repaint' makes a part of input_audio anew and keeps the rest: "
            "say which part with continuation_start and continuation_end."
        ]
    shortest, longest = REGION_SECONDS
    if not shortest <= seconds <= longest:
        return [f"The part to repaint is {seconds:.4g} s long; it may have {shortest:g} to {longest:g} s."]
    return []


def check_rate(values: dict[str, Any], _present: Sequence[str]) -> list[str]:
    """Check that a file that is kept, at its own rate, fits the format of the output."""
    task, audio = TASKS.get(values["task"]), values["input_audio"]
    if task is None or not task.repaints or audio is None or values["output_format"] != "mp3":
        return []
    if audio.rate in MP3_RATES or values["sample_rate"] is not None:
        return []
    cannot = f"An mp3 cannot have the {audio.rate:,} samples per second of input_audio"
    return [f"{cannot}: choose another output_format, or a sample_rate."]
