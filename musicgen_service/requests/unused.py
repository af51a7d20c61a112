"""Inputs of a valid request that have no effect."""

from collections.abc import Iterator, Mapping
from typing import Any

from musicgen_service.audio.encoding import BIT_DEPTHS
from musicgen_service.requests import sections
from musicgen_service.requests.tasks import TASKS

GREEDY_BELOW = 1e-5
"""A temperature below this always takes the likeliest token: logits divided by it differ by at least their last bit."""


def without_effect(request: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """Report the inputs without effect, one sentence each.

    Parameters
    ----------
    request : the inputs of a valid request, with its task and model chosen
    defaults : the default of each input
    """
    task = TASKS[request["task"]]
    given = {name for name, value in request.items() if name in defaults and value != defaults[name]}
    unused = [name for name in task.unused if name in given]
    sentences = [f"{name} has no effect on task '{task.name}'." for name in unused]
    if "bit_depth" in given and request["output_format"] not in BIT_DEPTHS:
        sentences.append(f"bit_depth has no effect on {request['output_format']} files.")
    sentences += _bars_without_effect(request, given - set(unused))
    if task.samples_tokens:
        return sentences + list(_sampling_without_effect(request, given))
    if request["variations"] > 1 and not request["multi_band_diffusion"]:
        sentences.append(f"variations of task '{task.name}' are all alike without multi_band_diffusion.")
    return sentences


def _bars_without_effect(request: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    if "time_signature" in given and request["text_chords"] is None and request["sections"] is None:
        yield "time_signature has no effect without text_chords or sections."
    if TASKS[request["task"]].needs_chords and request["audio_chords"] is None:
        for name in ("continuation_start", "continuation_end"):
            if name in given:
                yield f"{name} has no effect without audio_chords."
    has_chords = any(request[name] is not None for name in ("text_chords", "audio_chords"))
    is_used = request["task"] == "remix" or has_chords or sections.name_chords(request["sections"] or "")
    if "chroma_coefficient" in given and not is_used:
        yield "chroma_coefficient has no effect without text_chords, audio_chords or chords of sections."


def _sampling_without_effect(request: Mapping[str, Any], given: set[str]) -> Iterator[str]:
    temperature = request["temperature"]
    if temperature < GREEDY_BELOW:
        always = f"temperature {temperature:g} always takes the likeliest token, so"
        for name in ("top_k", "top_p"):
            if name in given:
                yield f"{always} {name} has no effect."
        if temperature > 0:
            yield f"temperature {temperature:g} is as good as 0: it always takes the likeliest token."
        if request["variations"] > 1:
            yield f"{always} the variations are all alike."
    elif request["top_p"] > 0 and "top_k" in given:
        yield "top_k has no effect where top_p is given."
    guidance = request["classifier_free_guidance"]
    if guidance == 1 and request["negative_prompt"] is not None:
        yield "negative_prompt has no effect where classifier_free_guidance is 1."
    has_words = any(request[name] is not None for name in ("prompt", "negative_prompt", "sections", "bpm"))
    if request["task"] == "continuation" and not has_words and "classifier_free_guidance" in given:
        yield "classifier_free_guidance has no effect without a prompt."
    for name in ("prompt", "sections"):
        if guidance == 0 and request[name] is not None:
            yield f"{name} has no effect where classifier_free_guidance is 0."
