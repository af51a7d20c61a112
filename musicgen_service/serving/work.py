"""How much audio a request asks for."""

from collections.abc import Mapping
from typing import Any

from musicgen_service.audio.opening import MAX_SECONDS
from musicgen_service.requests import sections, time_signature
from musicgen_service.requests.fields import MAX_TEXT_LENGTH
from musicgen_service.requests.tasks import TASKS, TaskSpec
from musicgen_service.serving.refusals import Refusal

_LENGTHS = ("duration", "max_duration")
"""The input that says how long a clip is, by its names in our predictor and in the drop-ins."""


class Work:
    """Counts the seconds of audio that requests ask for, and refuses those that ask for too much.

    What goes by a recording counts as the part of it that the request names, and without an end of that part as the
    longest recording that may be sent: its length is not known yet. The worker, which reads it, holds it to the limit,
    and reports how much it was.

    Parameters
    ----------
    schema : of the predictor, in the form of Cog's
    maximum : seconds of audio that one request may ask for, all variations and repetitions together
    """

    def __init__(self, schema: Mapping[str, Any], maximum: float) -> None:
        properties = schema["components"]["schemas"]["Input"]["properties"]
        self._defaults = {name: entry.get("default") for name, entry in properties.items()}
        self._length = next((name for name in _LENGTHS if name in properties), None)
        self._maximum = maximum

    def check(self, inputs: Mapping[str, Any]) -> float:
        """The seconds of audio that valid inputs ask for.

        Raises
        ------
        Refusal
            When they are too many.
        """
        values = {**self._defaults, **inputs}
        clips = values.get("variations") or 1
        task = TASKS.get(values.get("task", ""))
        if task is not None and "repeat" not in task.unused:
            clips *= values.get("repeat") or 1
        if self._length is None:
            return _seconds_of_recording(TASKS["remix"], values) * clips
        if task is not None and "duration" in task.unused:
            return _seconds_of_recording(task, values) * clips
        name, asks, length = self._length, "asks", values[self._length]
        if values.get("sections"):
            name, asks, length = "sections", "ask", _seconds_of_sections(values)
        seconds = max(0.0, length * clips)
        if seconds > self._maximum:
            sentence = (
                f"{name} {asks} for {seconds:,.10g} s of audio, all variations and repetitions together; "
                f"{self._maximum:,.10g} s are allowed."
            )
            location = ["body", "input", name]
            raise Refusal(422, sentence, [{"loc": location, "msg": sentence, "type": "value_error"}])
        return float(seconds)


def _seconds_of_recording(task: TaskSpec, values: Mapping[str, Any]) -> float:
    """How much of a recording the task can be about."""
    start, end = values.get("continuation_start") or 0.0, values.get("continuation_end")
    longest = task.max_audio_seconds or MAX_SECONDS
    return float(max(0.0, (longest if end is None or end < 0 else min(end, longest)) - start))


def _seconds_of_sections(values: Mapping[str, Any]) -> float:
    """How long the sections are together; 0 where the worker refuses them: they cannot be read, or a text is longer."""
    if any(len(values.get(name) or "") > MAX_TEXT_LENGTH for name in ("sections", "prompt")):
        return 0.0
    try:
        metre = time_signature.read(values.get("time_signature"))
        return sections.read(values["sections"], values.get("prompt"), values.get("bpm"), metre)[-1].end
    except ValueError:
        return 0.0
