"""Generation of clips longer than the model's window, window by window.

The scheme is MusicGen's (section 2.2 of arXiv:2306.05284 and audiocraft's extended generation): each
window after the first starts with the last part of the clip so far and continues it. Lengths are
counted in frames throughout, so that no fraction of a second is lost by rounding.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from musicgen_service.engine.interface import Condition, Sampling, SlotRequest, result
from musicgen_service.models.music_model import MusicModel

OVERLAP = 0.4
"""Share of a window that the next one repeats: 12 s of MusicGen's 30 s."""

SECTION_CONTEXT = 3.0
"""Seconds that the first window of a section repeats: with as many as elsewhere, the music goes on as before, whatever
the section's own words say."""


class Wording(NamedTuple):
    """The texts of a section, in place of those of the condition.

    Attributes
    ----------
    start : frame from which they hold, until the next section starts
    text, negative_text : see `Condition`
    is_free : whether the condition's chroma, which is that of other sections, does not hold
    """

    start: int
    text: str | None
    negative_text: str | None
    is_free: bool = False


def context_frames(model: MusicModel) -> int:
    """Return the number of frames that a window repeats from the one before."""
    return int(model.window * OVERLAP)


def generate_tokens(
    model: MusicModel,
    condition_at: Callable[[int], Condition],
    prefix_tokens: torch.Tensor | None,
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    report: Callable[[float], None],
    wordings: Sequence[Wording] = (),
) -> list[torch.Tensor]:
    """Generate tokens for any length, for several clips at once; see `stream_tokens`."""
    plan = condition_at, prefix_tokens, length, sampling, seeds, report, wordings
    return result(stream_tokens(model, *plan, is_heard=False))


def stream_tokens(
    model: MusicModel,
    condition_at: Callable[[int], Condition],
    prefix_tokens: torch.Tensor | None,
    length: int,
    sampling: Sampling,
    seeds: Sequence[int],
    report: Callable[[float], None],
    wordings: Sequence[Wording] = (),
    *,
    is_heard: bool = True,
) -> Generator[torch.Tensor, None, list[torch.Tensor]]:
    """Generate tokens for any length, for several clips at once, and yield those of the first clip meanwhile.

    Parameters
    ----------
    condition_at : condition of the window that starts at a given frame
    prefix_tokens : tokens [codebooks, frames] to continue, fewer than a window, or None
    length : total frames, including the prefix
    seeds : one for each clip; a clip depends only on its own seed
    report : called with the completed share (0 to 1) of the new frames
    wordings : texts of sections, in order; a window ends where the next section starts
    is_heard : false yields nothing

    Yields
    ------
    Consecutive int64 tensors [codebooks, frames], which follow the prefix

    Returns
    -------
    int64 tensors [codebooks, length], one for each seed, which begin with the prefix
    """
    generators = [torch.Generator(model.device).manual_seed(seed) for seed in seeds]
    prefix_length = 0 if prefix_tokens is None else prefix_tokens.shape[-1]
    clips: list[torch.Tensor | None] = [prefix_tokens] * len(seeds)
    start, done = 0, prefix_length
    while done < length:
        stop = min(length, start + model.window, *(wording.start for wording in wordings if wording.start > done))
        condition = _worded(condition_at(start), wordings, done)

        def on_step(step: int, steps: int, done: int = done, stop: int = stop) -> None:
            report((done - prefix_length + (stop - done) * step / steps) / (length - prefix_length))

        requests = [
            SlotRequest(
                condition,
                None if clip is None else clip[:, start:],
                stop - start,
                sampling,
                generator,
                is_part=length > model.window or len(wordings) > 1,
            )
            for clip, generator in zip(clips, generators, strict=True)
        ]
        if is_heard:
            windows = yield from model.stream_tokens(requests, on_step)
        else:
            windows = model.generate_tokens(requests, on_step)
        clips = [
            window if clip is None else torch.cat([clip[:, :start], window], dim=-1)
            for clip, window in zip(clips, windows, strict=True)
        ]
        context = context_frames(model)
        if any(wording.start == stop for wording in wordings):
            context = min(context, round(SECTION_CONTEXT * model.frame_rate))
        start, done = max(0, stop - context), stop
    return [clip for clip in clips if clip is not None]


def _worded(condition: Condition, wordings: Sequence[Wording], frame: int) -> Condition:
    """Return a condition with the texts of the section that a frame is in."""
    for wording in reversed(wordings):
        if wording.start <= frame:
            chroma = None if wording.is_free else condition.chroma
            return replace(condition, text=wording.text, negative_text=wording.negative_text, chroma=chroma)
    return condition
